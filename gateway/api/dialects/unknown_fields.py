"""Decode a request body, and name the fields that nothing reads: a typo is no error, but must not go unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import fields, replace

from gateway.api.dialect import IncomingRequest

MAX_NAMES = 16
"""Unknown fields that are named; a typo is one."""

MAX_NAME_LENGTH = 64
"""Characters of each name that are shown. Names are the caller's text."""

Body = TypeVar("Body", bound=Struct)

_decode_keys = msgspec.json.Decoder(dict[str, Raw]).decode


def decoder(body_type: type[Body]) -> Callable[[IncomingRequest], Body]:
    """Make a JSON decoder for that type. It takes numbers and booleans in quotes too, as some clients send them.

    Names of unknown fields are put into the request's call. A body without any costs nothing: it is decoded by a type
    that refuses unknown fields, and only what that refuses is decoded again.

    Raises (when called): msgspec.DecodeError, UnicodeDecodeError, RecursionError.
    """
    exact_type = msgspec.defstruct(
        body_type.__name__,
        [],
        bases=(body_type,),
        kw_only=True,
        forbid_unknown_fields=True,
        module=body_type.__module__,
    )
    decode_exactly = msgspec.json.Decoder(exact_type, strict=False).decode
    decode_any = msgspec.json.Decoder(body_type, strict=False).decode
    known = frozenset(field.encode_name for field in fields(body_type))

    def decode(incoming: IncomingRequest) -> Body:
        try:
            return decode_exactly(incoming.body)  # type: ignore[return-value]  # it is one, by its bases
        except msgspec.ValidationError:
            body = decode_any(incoming.body)
        incoming.call = replace(incoming.call, ignored=unknown_names(incoming.body, known))
        return body

    return decode


def unknown_names(raw: bytes, known: frozenset[str]) -> tuple[str, ...]:
    """The first fields of a JSON object that are not known, cut to MAX_NAME_LENGTH."""
    unknown = (name for name in _decode_keys(raw) if name not in known)
    return tuple(_shorten(name) for name, _ in zip(unknown, range(MAX_NAMES), strict=False))


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"
