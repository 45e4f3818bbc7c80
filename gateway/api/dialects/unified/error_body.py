"""The error body of the unified dialect, with the message under every name that known clients read."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gateway.api.dialect import TracedBody
from gateway.api.dialects.unified.answer import ExtraFields, attempts_to_show
from providers.types import Call

_encode = msgspec.json.Encoder().encode


class ErrorBody(TracedBody, kw_only=True):
    """The body of every answer other than 2xx."""

    message: str
    detail: str
    error: str
    error_type: str
    id: str
    extra_fields: ExtraFields


def error_body(
    message: str, error_type: str, call: Call, model: str | None = None, trace_id: str | UnsetType = UNSET
) -> bytes:
    """Encode an error.

    Args:
        message: one sentence, for people.
        error_type: stable, for programs.
        call: its id and attempts are shown.
        model: as the caller named it, if known.
        trace_id: of the trace that is recorded, if one is.
    """
    attempts = attempts_to_show(call, least=1)
    fields = ExtraFields(
        ignored=call.ignored or None,
        provider=(attempts[0].provider or None) if attempts else None,
        original_model_requested=model,
        attempts=attempts,
    )
    return _encode(
        ErrorBody(
            message=message,
            detail=message,
            error=message,
            error_type=error_type,
            id=call.id,
            extra_fields=fields,
            trace_id=trace_id,
        )
    )
