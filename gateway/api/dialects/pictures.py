"""Pictures, as callers write them beside or in place of text: content parts, for targets that read those."""

from __future__ import annotations

import re
from typing import Any

from providers.types import ContentParts

_URL = re.compile(r"(https?://|data:)\S", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{2,}={0,2}")
_HEAD = 128
"""Characters of a picture in base64 that are looked at."""

_TYPES = {"/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}
"""How pictures of each type begin in base64; any other is taken for PNG."""


def to_parts(text: str | None, image: Any) -> ContentParts:
    """The text, if there is any, and the picture.

    Args:
        text: of the same query or document.
        image: an address (`http`, `https` or `data`), base64, or an object with one of them as `url`.

    Raises:
        ValueError: the picture is none of these.
    """
    part = {"type": "image_url", "image_url": {"url": _to_url(image)}}
    return ContentParts([{"type": "text", "text": text}, part] if text and not text.isspace() else [part])


def _to_url(image: Any) -> str:
    """The picture as a URL: content parts have no field for bare base64, so that becomes a data URL."""
    image = image.get("url") if isinstance(image, dict) else image
    if isinstance(image, str) and _URL.match(image):
        return image
    data = image.replace("\r", "").replace("\n", "") if isinstance(image, str) else ""
    if not data or len(data) % 4 or not _BASE64.fullmatch(data[:_HEAD]):
        raise ValueError("a picture must be an http, https or data URL, or base64")
    kind = next((kind for start, kind in _TYPES.items() if data.startswith(start)), "png")
    return f"data:image/{kind};base64,{data}"
