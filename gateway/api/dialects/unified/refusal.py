"""The unified dialect's error body, which every known client can read."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.api.dialects.unified.answer import ExtraFields, attempts_to_show
from providers.types import Call

_encode = msgspec.json.Encoder().encode


class ErrorBody(Struct, kw_only=True):
    """The body of every answer that is not a 2xx."""

    message: str
    detail: str
    error: str
    error_type: str
    id: str
    extra_fields: ExtraFields


def error_body(message: str, error_type: str, call: Call, model: str | None = None) -> bytes:
    """The bytes of an error answer."""
    attempts = attempts_to_show(call, least=1)
    fields = ExtraFields(
        provider=(attempts[0].provider or None) if attempts else None, original_model_requested=model, attempts=attempts
    )
    return _encode(
        ErrorBody(
            message=message, detail=message, error=message, error_type=error_type, id=call.id, extra_fields=fields
        )
    )
