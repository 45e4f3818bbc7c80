"""What is wrong with a body that cannot be decoded, and what to send instead.

msgspec's own sentences are kept where they tell it. Nothing of the body is quoted, nor of a field's value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from gateway.api.dialect import IncomingRequest
from gateway.api.dialects.surrogates import find_half

Words = Mapping[str, str]
"""What may be written in the fields that take one of a few words, by the fields' names."""

_WRONG_WORD = re.compile(r"Invalid enum value .*?(?= - at `\$[^`]*`\Z|\Z)", re.DOTALL)
_FIELD = re.compile(r" - at `\$\.([^`]*)`$")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,32}/[a-z0-9.+-]{1,64}")


def words_of(body_type: type[Struct]) -> Words:
    """The words of a body's fields. A field that takes true and false has these, whatever texts stand for them too."""
    found = {field.encode_name: list(_words(field.type)) for field in fields(body_type)}
    return {name: " or ".join(f"`{word}`" for word in words) for name, words in found.items() if words}


def _words(kind: Any) -> Iterator[str]:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if bool in members:
        yield from ("true", "false")
        return
    for member in members:
        yield from get_args(member) if get_origin(member) is Literal else ()


def describe(incoming: IncomingRequest, error: Exception, words: Words) -> str:
    """What is wrong, in a few words.

    Args:
        incoming: whose body could not be decoded.
        error: the decoder's.
        words: of the body's type.
    """
    half = find_half(incoming.body)
    if half is not None:
        return f"{half[0]} is half of a character, whose other half was cut off - at `{half[1]}`"
    if isinstance(error, msgspec.ValidationError):
        return wrong_value(str(error), words)
    return _no_json(incoming) or str(error)


def wrong_value(reason: str, words: Words) -> str:
    """msgspec's words, without the text that stands where one of a few words is expected: it may be anything."""
    place = _FIELD.search(reason)
    known = words.get(place[1]) if place else None
    return _WRONG_WORD.sub(f"Expected {known}" if known else "Unknown value", reason)


def _no_json(incoming: IncomingRequest) -> str | None:
    """Why the body as a whole cannot be JSON; None if it may be meant as such."""
    body = incoming.body.lstrip()
    if not body:
        return "the body is empty; send a JSON object"
    media = _media_type(incoming)
    if not body.startswith(b"{") and media is not None and not media.endswith(("/json", "+json")):
        return f"the body must be JSON, but its content-type is {media}"
    try:
        incoming.body.decode()
    except UnicodeDecodeError as error:
        return f"the body must be UTF-8 text, and is none from byte {error.start} on"
    return None


def _media_type(incoming: IncomingRequest) -> str | None:
    """What the caller says the body is, without parameters; None if it says nothing."""
    for name, value in incoming.headers:
        if name == b"content-type":
            media = value.partition(b";")[0].strip().lower().decode("latin-1")
            return media if _MEDIA_TYPE.fullmatch(media) else "something else"
    return None
