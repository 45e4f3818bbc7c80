"""The optional fields of a request body. Absent ones are left out, never null: vLLM answers a null `top_n` with 400."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.types import RerankRequest


def without_nulls(**fields: Any) -> dict[str, Any]:
    """The fields that have a value, in the order given."""
    return {name: value for name, value in fields.items() if value is not None}


def vendor_fields(request: RerankRequest, names: Iterable[str]) -> dict[str, Any]:
    """The vendor's own fields, as the caller wrote them; a null counts as absent."""
    extra = request.extra
    return {name: extra[name] for name in names if extra.get(name) is not None} if extra else {}


def effective_top_n(request: RerankRequest) -> int | None:
    """`top_n`, but never more than there are documents, which some servers refuse; None is all."""
    return None if request.top_n is None else min(request.top_n, len(request.documents))
