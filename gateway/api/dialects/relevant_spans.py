"""Cohere's field for evidence: `relevant_spans` of a request.

Source: the SDK cohere 7.3.1 (2026-11)
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.api.dialect import IncomingRequest

MODES = ("enabled", "disabled")
"""What `mode` may be; the field is of no use without it."""


class RelevantSpans(Struct):
    """Whether spans are wanted, from which score on, and how many of each document."""

    mode: str | None = None
    threshold: float | None = None
    max_spans: int | None = None


def wants_spans(field: RelevantSpans | None) -> bool:
    """Whether the field is there and switched on."""
    return field is not None and field.mode == "enabled"


def note_unread(field: RelevantSpans | None, incoming: IncomingRequest) -> None:
    """Name the field among those that nothing reads, where its mode is none that is known."""
    if field is not None and field.mode not in MODES:
        incoming.call = replace(incoming.call, ignored=(*incoming.call.ignored, "relevant_spans"))


def span_wishes(field: RelevantSpans | None) -> dict[str, Any]:
    """What the caller wants of Cohere, for `extra` of the request."""
    wishes = {} if field is None else {"threshold": field.threshold, "max_spans": field.max_spans}
    return {"relevant_spans": wishes} if wishes else {}
