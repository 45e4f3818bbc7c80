"""What a vendor quotes of a request does not come back in its message."""

from __future__ import annotations

import pytest

from gateway.backends import redaction
from gateway.backends.http_errors import sanitize
from gateway.backends.redaction import redact
from providers.types import ContentParts, RerankRequest

LONG = "A text of several words that nobody else should read."

QUOTES: dict[str, tuple[str, str, str]] = {
    "whole": (LONG, f"bad document: {LONG}", "bad document: ***"),
    "cut short": (LONG, f"bad document: {LONG[:30]}...", "bad document: ***..."),
    "twice": (LONG, f"{LONG} and {LONG}", "*** and ***"),
    "with a line break in its beginning": ("first\nsecond line", "bad: first\nsecond line", "bad: ***"),
    "with a tab and a return": ("one\t\r\ntwo three four five six", "one\t\r\ntwo three four five si", "***"),
    "with space around it": ("  \n a short text \n", "bad: a short text", "bad: ***"),
    "a word that may stand there by chance": ("bad", "bad document", "bad document"),
}


@pytest.mark.parametrize(("text", "message", "shown"), QUOTES.values(), ids=QUOTES.keys())
@pytest.mark.parametrize("place", ["query", "document", "second query"])
def test_a_quoted_text_is_masked(place: str, text: str, message: str, shown: str) -> None:
    fields = {
        "query": {"query": text, "documents": ["d"]},
        "document": {"query": "q", "documents": ["d", text]},
        "second query": {"query": "q", "queries": ["q", text], "documents": ["d", "e"]},
    }
    request = RerankRequest(model="m", **fields[place])  # type: ignore[arg-type]  # a table of fields
    assert redact(sanitize(message, []), [], request) == shown


PARTS_OF_CONTENT = {
    "a text": {"type": "text", "text": LONG},
    "the URL of a picture": {"type": "image_url", "image_url": {"url": LONG, "detail": "low"}},
    "a list within": {"type": "tool_result", "content": [{"type": "text", "text": LONG}]},
    "a bare string": LONG,
}


@pytest.mark.parametrize("part", PARTS_OF_CONTENT.values(), ids=PARTS_OF_CONTENT)
@pytest.mark.parametrize("place", ["query", "document", "second query"])
def test_a_quoted_content_part_is_masked(place: str, part: object) -> None:
    content = ContentParts(content=[{"type": "text", "text": "Another text of several words."}, part])
    fields = {
        "query": {"query": content, "documents": ["d"]},
        "document": {"query": "q", "documents": ["d", content]},
        "second query": {"query": "q", "queries": ["q", content], "documents": ["d", "e"]},
    }
    request = RerankRequest(model="m", **fields[place])  # type: ignore[arg-type]  # a table of fields
    shown = redact(f"bad image_url or tool_result: {LONG[:30]}... after Another text of several words.", [], request)
    assert shown == "bad image_url or tool_result: ***... after ***"


def test_a_secret_is_masked_before_anything_is_cut() -> None:
    request = RerankRequest(model="m", query="q", documents=["d"])
    assert redact("the key is sk-1", ["sk-1"], request) == "the key is ***"


KEY = "sk-live-0123456789"
PARTS = {
    "its beginning": ("wrong key sk-live-01...", "wrong key ***"),
    "both ends": ("wrong key sk-l***********6789.", "wrong key ***."),
    "its end": ("wrong key ****6789", "wrong key ***"),
    "an ellipsis": ("wrong key sk-…89", "wrong key ***"),
    "crosses": ("wrong key xxxxxxxx6789", "wrong key ***"),
    "bullets": ('wrong key "sk-••••"', 'wrong key "***"'),
    "another's": ("wrong key pk-1...77", "wrong key pk-1...77"),
    "no key": ("still loading... try 2**3", "still loading... try 2**3"),
}


@pytest.mark.parametrize(("message", "shown"), PARTS.values(), ids=PARTS)
def test_parts_of_a_secret_beside_an_elision_are_masked(message: str, shown: str) -> None:
    request = RerankRequest(model="m", query="q", documents=["d"])
    assert redact(message, [KEY], request) == shown


def test_no_text_is_gone_through_that_the_message_does_not_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage each attempt of a large request ends with a message."""
    gone_through = 0
    whole = redaction.one_line

    def one_line(text: str) -> str:
        nonlocal gone_through
        gone_through += len(text)
        return whole(text)

    monkeypatch.setattr(redaction, "one_line", one_line)
    documents = ["\n" * (n % 2) + f"document {n} of a large request " * 1000 for n in range(100)]
    request = RerankRequest(model="m", query="q", documents=documents)  # type: ignore[arg-type]  # lists are invariant
    assert redact(f"cannot read {documents[7][1:60]}", [], request) == "cannot read ***"
    assert gone_through < 2 * len(documents[7])
