"""Pictures, as callers write them beside or in place of text: content parts, for targets that read those."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.api.dialects.blank import is_blank
from providers.types import ContentParts

_URL = re.compile(r"(https?://|data:)\S", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{2,}={0,2}")
_HEAD = 128
"""Characters of a picture in base64 that are looked at."""

_TYPES = {"/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}
"""How pictures of each type begin in base64; any other is taken for PNG."""


_NO_PICTURE = "a picture must be an http, https or data URL, or base64"

MEDIA = {"image": "image_url", "image_url": "image_url", "video": "video_url", "video_url": "video_url"}
"""The fields in which callers write pictures, and the content part that each becomes."""


def to_parts(text: str | None, media: Mapping[str, Any]) -> ContentParts:
    """The text, if there is any, and the pictures.

    Args:
        text: of the same query or document.
        media: by fields of MEDIA, each an address (`http`, `https` or `data`) or an object with one as `url`; an image
            also as base64.

    Raises:
        ValueError: a picture is none of these.
    """
    return beside(text, [_part(MEDIA[name], value) for name, value in media.items()])


def beside(text: str | None, parts: list[Any]) -> ContentParts:
    """The text, if there is any, and then the parts."""
    return ContentParts([{"type": "text", "text": text}, *parts] if not is_blank(text) else parts)


def are_parts(value: Any) -> bool:
    """Whether it is a list of content parts, and not data of the caller's."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "type" in part for part in value)


def _part(kind: str, value: Any) -> dict[str, Any]:
    address = value.get("url") if isinstance(value, dict) else value
    if isinstance(address, str) and _URL.match(address):
        return {"type": kind, kind: {"url": address}}
    if kind == "image_url" and isinstance(address, str):
        return {"type": kind, kind: {"url": _data_url(address)}}
    raise ValueError(_NO_PICTURE)


def _data_url(image: str) -> str:
    """Content parts have no field for bare base64, so that becomes a data URL."""
    data = image.replace("\r", "").replace("\n", "")
    if not data or len(data) % 4 or not _BASE64.fullmatch(data[:_HEAD]):
        raise ValueError(_NO_PICTURE)
    kind = next((kind for start, kind in _TYPES.items() if data.startswith(start)), "png")
    return f"data:image/{kind};base64,{data}"
