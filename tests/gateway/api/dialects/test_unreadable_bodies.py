"""Bodies that no decoder takes: each dialect says what to send instead, in its own form, and quotes nothing of them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec import Struct

from gateway.api.dialects.unreadable import words_of, wrong_value

PATHS = [
    "/v1/rerank", "/v2/rerank", "/cohere/v1/rerank", "/cohere/v2/rerank", "/jina/v1/rerank", "/voyage/v1/rerank",
    "/vllm/v1/rerank", "/infinity/rerank", "/tei/rerank", "/v1/score",
]  # fmt: skip
FORM = "application/x-www-form-urlencoded"
LATIN = '{"query": "caf\xe9 SECRET", "text_1": "\xe9", "documents": ["a"]}'.encode("latin-1")

UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    # the body, its content-type, and what is said
    "nothing": (b"", "application/json", "the body is empty; send a JSON object"),
    "blanks": (b" \n", "application/json", "the body is empty; send a JSON object"),
    "a form": (b"query=SECRET", FORM, f"the body must be JSON, but its content-type is {FORM}"),
    "a multipart form": (
        b"--x\r\ncontent-disposition: form-data\r\n\r\nSECRET\r\n--x--",
        "multipart/form-data; boundary=x",
        "the body must be JSON, but its content-type is multipart/form-data",
    ),
    "text": (b"SECRET", "Text/Plain", "the body must be JSON, but its content-type is text/plain"),
    "a type that is none": (b"SECRET", "SECRET it is", "the body must be JSON, but its content-type is something else"),
    "broken JSON as curl sends it": (b'{"query": "SECRET",}', FORM, "JSON is malformed: "),
    "no JSON, though it says so": (b"SECRET", "application/json; charset=utf-8", "JSON is malformed: "),
    "no JSON, in a kind of JSON": (b"SECRET", "application/vnd.x+json", "JSON is malformed: "),
    "Latin-1": (LATIN, "application/json", "the body must be UTF-8 text, and is none from byte 14 on"),
    "UTF-16": ('{"query": "q"}'.encode("utf-16"), "application/json", "UTF-8 text, and is none from byte 0 on"),
}


@pytest.fixture
async def gateway(opened: Any) -> Any:
    return await opened({"providers": {"own": {"adapter": "passthrough"}}, "default_model": "own/x"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "media", "told"), UNREADABLE.values(), ids=UNREADABLE)
async def test_an_unreadable_body_is_told_in_every_dialect(
    gateway: Any, path: str, body: bytes, media: str, told: str
) -> None:
    if body is LATIN and path == "/v1/score":
        body = body.replace(b"query", b"text_1").replace(b"documents", b"text_2x")
        told = told.replace("14", "15")
    reply = await gateway.post(path, content=body, headers={"content-type": media})
    assert reply.status_code in (400, 422)
    assert told in reply.text
    assert "SECRET" not in reply.text


class Body(Struct):
    scale: Literal["one", "two"] | None = None
    flag: bool | Literal["true", "false"] | None = None
    name: str = ""


WORDS: dict[str, tuple[str, str]] = {
    "one of two words": ("Invalid enum value 'SECRET' - at `$.scale`", "Expected `one` or `two` - at `$.scale`"),
    "true or false": ("Invalid enum value 'SECRET' - at `$.flag`", "Expected `true` or `false` - at `$.flag`"),
    "a place that is not known": ("Invalid enum value 'SECRET' - at `$.a.b`", "Unknown value - at `$.a.b`"),
    "a value that looks like a place": (
        "Invalid enum value 'SECRET - at `$.x`\n' - at `$.scale`",
        "Expected `one` or `two` - at `$.scale`",
    ),
    "another fault": ("Expected `str`, got `int` - at `$.name`", "Expected `str`, got `int` - at `$.name`"),
}


@pytest.mark.parametrize(("reason", "told"), WORDS.values(), ids=WORDS)
def test_the_words_that_a_field_takes_are_told(reason: str, told: str) -> None:
    assert wrong_value(reason, words_of(Body)) == told


DAYS: dict[str, str] = {"a word": "yesterday", "a day in words": "1 November 2026", "no such day": "2026-02-30"}


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
@pytest.mark.parametrize("name", ["first", "last"])
async def test_a_day_that_is_none_is_told_with_one_that_is(gateway: Any, name: str, day: str) -> None:
    reply = await gateway.get("/v1/usage", params={name: day})
    assert (reply.status_code, reply.json()["message"]) == (400, f"{name}: must be a date such as 2026-11-01")


SPANS: dict[str, tuple[Any, str | None]] = {
    "switched on": ({"mode": "enabled"}, None),
    "switched off": ({"mode": "disabled"}, None),
    "null": (None, None),
    "another word": ({"mode": "on"}, "relevant_spans"),
    "no mode": ({"threshold": 0.5}, "relevant_spans"),
    "a misspelt mode": ({"mod": "enabled"}, "relevant_spans"),
}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/cohere/v2/rerank"])
@pytest.mark.parametrize(("field", "ignored"), SPANS.values(), ids=SPANS)
async def test_a_wish_for_spans_that_is_not_understood_is_named(
    gateway: Any, path: str, field: Any, ignored: str | None
) -> None:
    body = {"model": "own/x", "query": "q", "documents": ["a"], "relevant_spans": field}
    reply = await gateway.post(path, json=body)
    assert reply.status_code == 200
    assert reply.headers.get("x-gateway-ignored") == ignored
    more = await gateway.post(path, json={**body, "typo": 1})
    assert more.headers["x-gateway-ignored"] == ", ".join(filter(None, ["typo", ignored]))
