"""Content parts as vendors take them that know a text or a picture."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import Unsupported
from providers.types import ContentParts
from providers.wire.parts import text_of, texts_or_pictures


def picture(address: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": address}


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value}


TAKEN: dict[str, tuple[list[Any], Any]] = {
    "an address": ([picture({"url": "https://img.example/a.png"})], {"image": "https://img.example/a.png"}),
    "an address by itself": ([picture("https://img.example/a.png")], {"image": "https://img.example/a.png"}),
    "base64": ([picture({"url": "data:image/png;base64,iVBORw0KGgo="})], {"image": "iVBORw0KGgo="}),
    "another data URL": ([picture({"url": "data:image/svg+xml,<svg/>"})], {"image": "data:image/svg+xml,<svg/>"}),
    "a text": ([text("tubes")], "tubes"),
    "texts": ([text("tubes"), text("and patches")], "tubes\nand patches"),
}
REFUSED: dict[str, list[Any]] = {
    "a picture beside a text": [text("tubes"), picture({"url": "https://img.example/a.png"})],
    "two pictures": [picture({"url": "https://img.example/a.png"})] * 2,
    "a video": [{"type": "video_url", "video_url": {"url": "https://img.example/a.mp4"}}],
    "a picture that is no address": [picture({"url": 7})],
    "a text that is none": [text(7)],
    "a part that is none": ["tubes"],
    "nothing": [],
}


@pytest.mark.parametrize(("parts", "sent"), TAKEN.values(), ids=TAKEN)
def test_a_document_is_sent(parts: list[Any], sent: Any) -> None:
    assert texts_or_pictures(["plain", ContentParts(parts)]) == ["plain", sent]


@pytest.mark.parametrize("parts", REFUSED.values(), ids=REFUSED)
def test_a_document_is_refused(parts: list[Any]) -> None:
    with pytest.raises(Unsupported, match="a text or one picture as a document"):
        texts_or_pictures([ContentParts(parts)])


def test_a_query_is_text() -> None:
    assert text_of("tubes") == text_of(ContentParts([text("tubes")])) == "tubes"
    with pytest.raises(Unsupported, match="a text as the query"):
        text_of(ContentParts([picture("https://img.example/a.png")]))


def test_texts_alone_are_sent_as_they_are() -> None:
    documents = ["tubes", "helmets"]
    assert texts_or_pictures(documents) is documents
