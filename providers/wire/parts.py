"""Content parts for vendors that take a text or a picture, and call it that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from providers.errors import Unsupported
from providers.types import ContentParts, TextOrParts


def texts_or_pictures(documents: Sequence[TextOrParts]) -> Sequence[Any]:
    """Each text as it is, and each picture as `{"image": address or base64}`. Raises Unsupported for anything else."""
    if ContentParts not in set(map(type, documents)):
        return documents
    return [_picture(each.content) if isinstance(each, ContentParts) else each for each in documents]


def text_of(query: TextOrParts) -> str:
    """The text of a query. Raises Unsupported where it has a picture."""
    return query if isinstance(query, str) else _text(query.content)


def _picture(parts: list[Any]) -> str | dict[str, str]:
    address = _address(parts[0]) if len(parts) == 1 else None
    return _text(parts) if address is None else {"image": _bare(address)}


def _address(part: Any) -> str | None:
    """Of the picture in a part; None if it is none."""
    picture = part.get("image_url") if isinstance(part, dict) else None
    address = picture.get("url") if isinstance(picture, dict) else picture
    return address if isinstance(address, str) else None


def _bare(address: str) -> str:
    """A data URL is sent as the base64 in it."""
    head, mark, data = address.partition(";base64,")
    return data if mark and head.lower().startswith("data:") else address


def _text(parts: list[Any]) -> str:
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    known = [text for text in texts if isinstance(text, str)]
    if not texts or len(known) < len(texts):
        raise Unsupported("this model takes a text or one picture as a document, and a text as the query")
    return "\n".join(known)
