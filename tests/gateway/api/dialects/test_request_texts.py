"""Texts and numbers as callers really send them: halves of characters, marks, nothing visible, numbers in quotes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.api.dialect import AnyDialect, DecodedRequest, IncomingRequest
from gateway.api.dialects import cohere, infinity, jina, score, tei, vllm, voyage
from gateway.api.dialects.unified import dialect as unified
from providers.errors import InvalidRequest
from providers.types import Call

DIALECTS: dict[str, tuple[AnyDialect, str]] = {
    "unified": (unified.dialect(lambda: "m"), "documents"),
    "cohere v1": (cohere.v1(), "documents"),
    "cohere v2": (cohere.v2(), "documents"),
    "jina": (jina.dialect(), "documents"),
    "voyage": (voyage.dialect(), "documents"),
    "vllm": (vllm.dialect(lambda: "m"), "documents"),
    "tei": (tei.dialect(lambda: "m"), "texts"),
    "infinity": (infinity.dialect(lambda: "m"), "documents"),
}


def decode(dialect: AnyDialect, body: str | dict[str, Any]) -> DecodedRequest[Any]:
    raw = body if isinstance(body, str) else json.dumps(body)
    return dialect.decode(IncomingRequest(raw.encode(), dialect.paths[0], [], Call("1"), lambda name: True))


BLANK = {
    "zero width": "\u200b\u200d\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\xad",
    "NUL": "\x00",
    "braille without dots": "\u2800\u2800",
    "Hangul filler": "\u3164",
    "half width Hangul filler": "\uffa0",
    "variation selector": "\ufe0f",
    "tags": "\U000e0041",
    "control characters": "\x1b\x07",
    "with spaces": " \n\u200b \u3000",
    "direction marks": "\u200e\u202e",
    "spaces": " \t\u2003",
}


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize(("dialect", "field"), DIALECTS.values(), ids=DIALECTS)
def test_a_document_of_nothing_visible_is_blank(dialect: AnyDialect, field: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as blank:
        decode(dialect, {"model": "m", "query": "q", field: ["a", ""]})
    with pytest.raises(InvalidRequest) as invisible:
        decode(dialect, {"model": "m", "query": "q", field: ["a", text]})
    assert invisible.value.message == blank.value.message


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize(("dialect", "field"), DIALECTS.values(), ids=DIALECTS)
def test_a_query_of_nothing_visible_is_blank(dialect: AnyDialect, field: str, text: str) -> None:
    with pytest.raises(InvalidRequest) as blank:
        decode(dialect, {"model": "m", "query": "", field: ["a"]})
    with pytest.raises(InvalidRequest) as invisible:
        decode(dialect, {"model": "m", "query": text, field: ["a"]})
    assert invisible.value.message == blank.value.message


def test_a_query_of_a_pair_may_not_be_invisible() -> None:
    pairs = {"model": "m", "queries": ["a", "\u200b"], "documents": ["a", "b"]}
    with pytest.raises(InvalidRequest, match="query at index 1"):
        decode(score.dialect(lambda: "m"), pairs)


VISIBLE = ["\u200bж", "\ufeff1", "👩\u200d🦰", " x ", "\x00.", "\u3164ㅏ", "­­a", "क्\u200d", "☺\ufe0f"]


def test_what_has_something_visible_is_ranked() -> None:
    for dialect, field in DIALECTS.values():
        assert decode(dialect, {"model": "m", "query": "\ufeffq", field: VISIBLE}).request.documents == VISIBLE


HALVES: dict[str, tuple[str, str, str]] = {
    "in a document": (r'["ab", "a\ud83d"]', r"\ud83d", r"$.documents[1]"),
    "at the end of a cut text": (r'["\ud83d"]', r"\ud83d", r"$.documents[0]"),
    "the second half": (r'["\ude00x"]', r"\ude00", r"$.documents[0]"),
    "two first halves": (r'["\ud83d\ud83d"]', r"\ud83d", r"$.documents[0]"),
    "before other text": (r'["\uD83Dx"]', r"\uD83D", r"$.documents[0]"),
    "after a whole pair": (r'["\ud83d\ude00", "\ud83d\ude00\ude00"]', r"\ude00", r"$.documents[1]"),
    "after an escaped backslash": (r'["\\ud83d", "\\\ud83d"]', r"\ud83d", r"$.documents[1]"),
    "deep": (r'[{"a": {"b": [1, "\ud83d"]}}]', r"\ud83d", r"$.documents[0].a.b[1]"),
    "in a key": (r'[{"a\ud83d": 1}]', r"\ud83d", r"$.documents[0]"),
    "in broken JSON": (r'["\ud83d", }', r"\ud83d", r"byte 44"),
}


@pytest.mark.parametrize(("documents", "half", "place"), HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("name", ["unified", "jina", "vllm"])
def test_half_a_character_is_named_with_its_place(name: str, documents: str, half: str, place: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(DIALECTS[name][0], f'{{"model": "m", "query": "q", "documents": {documents}}}')
    assert f"{half} is half of a character, whose other half was cut off - at `{place}`" in refused.value.message


NUMBERS: dict[str, tuple[str, int | None]] = {
    "whole": ("2", 2), "a fraction of zero": ("2.0", 2), "in quotes": ('"2"', 2), "both": ('"2.0"', 2),
    "exponent": ("2e0", 2), "null": ("null", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("field", ["top_n", "top_k", "max_tokens_per_doc", "priority"])
def test_a_number_may_be_written_in_other_ways(field: str, text: str, number: int | None) -> None:
    body = f'{{"model": "m", "query": "q", "documents": ["a", "b", "c"], "{field}": {text}}}'
    request = decode(DIALECTS["unified"][0], body).request
    assert getattr(request, "top_n" if field == "top_k" else field) == number


@pytest.mark.parametrize("text", ["2.5", '"two"', '""', "true", "[2]", '" 2"'])
@pytest.mark.parametrize("field", ["top_n", "max_tokens_per_doc"])
def test_what_is_no_whole_number_is_refused_with_its_place(field: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"`\$\.{field}"):
        decode(DIALECTS["unified"][0], f'{{"model": "m", "query": "q", "documents": ["a"], "{field}": {text}}}')


def test_texts_that_look_like_something_else_stay_texts() -> None:
    documents = ["null", "1", "true", "2.0"]
    body = {"model": "null", "query": "1", "documents": [*documents, {"text": "false"}]}
    request = decode(DIALECTS["unified"][0], body).request
    assert (request.model, request.query, request.documents) == ("null", "1", [*documents, "false"])


CUTS = [("unified", "max_tokens_per_doc"), ("cohere v2", "max_tokens_per_doc"), ("jina", "max_doc_length")]


@pytest.mark.parametrize("number", [0, -1, -(2**40)])
@pytest.mark.parametrize(
    ("name", "field"),
    [("unified", "max_tokens_per_doc"), ("cohere v2", "max_tokens_per_doc"), ("jina", "max_doc_length")],
)
def test_a_document_is_not_cut_to_nothing(name: str, field: str, number: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} must be at least 1"):
        decode(DIALECTS[name][0], {"model": "m", "query": "q", "documents": ["a"], field: number})
