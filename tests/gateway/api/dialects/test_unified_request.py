"""POST /v1/rerank, the way in: what is accepted, in which order things are refused, and in which words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.api.dialect import IncomingRequest
from gateway.api.dialects.unified.request import build_decoder, to_request
from providers.errors import InvalidRequest
from providers.types import Call, ContentParts, RerankRequest

DECODE = build_decoder({"truncation", "rank_fields"})
VALID: dict[str, Any] = {"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a", "b"]}


def incoming(raw: bytes) -> IncomingRequest:
    return IncomingRequest(raw, "/v1/rerank", (), Call(id="i"), lambda name: False)


def asked(body: Any, names: tuple[str, ...] = ()) -> RerankRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return to_request(DECODE(incoming(raw)), Call(id="i"), names.__contains__)


def without(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**VALID, **changes}.items() if name not in names}


TWICE = "fallbacks must name neither the model nor one another twice"

ORDER: dict[str, tuple[Any, str]] = {
    "no model": (without("model"), "model is required"),
    "a null model": (without(model=None), "model is required"),
    "an empty model": (without(model=""), "model is required"),
    "a blank model": (without(model=" \t"), "model is required"),
    "nothing at all": ({}, "model is required"),
    "a model, and nothing else": ({"model": "m"}, "query is required for rerank"),
    "no query": (without("query"), "query is required for rerank"),
    "a null query": (without(query=None), "query is required for rerank"),
    "an empty query": (without(query=""), "query is required for rerank"),
    "a blank query": (without(query=" \n\u2003"), "query is required for rerank"),
    "the query before the documents": (without("documents", query=""), "query is required for rerank"),
    "no documents": (without("documents"), "documents are required for rerank"),
    "null documents": (without(documents=None), "documents are required for rerank"),
    "an empty list": (without(documents=[]), "documents are required for rerank"),
    "the documents before top_n": (without(documents=[], top_n=0), "documents are required for rerank"),
    "an empty document": (without(documents=["a", ""]), "document text is required for rerank at index 1"),
    "a blank document": (without(documents=["\n\t ", "b"]), "document text is required for rerank at index 0"),
    "a null document": (without(documents=["a", None]), "document text is required for rerank at index 1"),
    "an object without anything": (without(documents=[{}]), "document text is required for rerank at index 0"),
    "an empty text": (without(documents=[{"text": "", "id": "x"}]), "document text is required for rerank at index 0"),
    "a blank text": (without(documents=["a", {"text": "  "}]), "document text is required for rerank at index 1"),
    "data of nothing": (without(documents=[{"id": 1, "data": {}}]), "document text is required for rerank at index 0"),
    "a null text": (without(documents=[{"text": None}]), "document text is required for rerank at index 0"),
    "the first of two": (without(documents=["", " "]), "document text is required for rerank at index 0"),
    "a document before top_n": (without(documents=[""], top_n=0), "document text is required for rerank at index 0"),
    "top_n of nothing": (without(top_n=0), "top_n must be at least 1"),
    "a negative top_n": (without(top_n=-1), "top_n must be at least 1"),
    "top_k of nothing": (without(top_k=0), "top_n must be at least 1"),
    "top_n before the fallbacks": (without(top_n=0, fallbacks=["x"]), "top_n must be at least 1"),
    "a fallback without model": (without(fallbacks=["cohere"]), 'invalid fallback "cohere": expected provider/model'),
    "more fallbacks than allowed": (
        without(fallbacks=[f"a/{number}" for number in range(17)]),
        "there are 17 fallbacks; at most 16 are allowed",
    ),
    "thousands of equal fallbacks": (
        without(fallbacks=["a/b"] * 2999),
        "there are 2999 fallbacks; at most 16 are allowed",
    ),
    "a fallback twice": (without(fallbacks=["a/b", "c/d", "a/b"]), TWICE),
    "the model as a fallback": (without(model="a/b", fallbacks=["c/d", "a/b"]), TWICE),
    "an empty fallback": (without(fallbacks=["a/b", ""]), 'invalid fallback "": expected provider/model'),
    "no provider in a fallback": (without(fallbacks=["/m"]), 'invalid fallback "/m": expected provider/model'),
    "no model behind the slash": (without(fallbacks=["p/"]), 'invalid fallback "p/": expected provider/model'),
    "blanks for a fallback": (without(fallbacks=[" / "]), 'invalid fallback " / ": expected provider/model'),
}


@pytest.mark.parametrize(("body", "message"), ORDER.values(), ids=ORDER)
def test_the_first_failure_wins_in_the_words_of_the_contract(body: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(body)
    assert caught.value.message == message


FORMAT: dict[str, tuple[Any, str]] = {
    "an empty body": (b"", "the body is empty; send a JSON object"),
    "blanks alone": (b" \r\n", "the body is empty; send a JSON object"),
    "not JSON": (b"hello", "JSON is malformed: invalid character (byte 0)"),
    "a trailing comma": (b'{"model": "m",}', "JSON is malformed: "),
    "cut short": (b'{"model": "m"', "Input data was truncated"),
    "two values": (b"{}{}", "JSON is malformed: trailing characters (byte "),
    "a list": ([], "Expected `object`, got `array`"),
    "null": (None, "Expected `object`, got `null`"),
    "text": ("x", "Expected `object`, got `str`"),
    "not UTF-8": (b'{"model": "\xff"}', "the body must be UTF-8 text, and is none from byte 11 on"),
    "UTF-16": ('{"model": "m"}'.encode("utf-16"), "the body must be UTF-8 text, and is none from byte 0 on"),
    "NaN": (b'{"top_n": NaN}', "JSON is malformed: invalid character"),
    "half of a surrogate pair": (
        b'{"model": "m", "query": "\\ud83d", "documents": ["a"]}',
        "\\ud83d is half of a character",
    ),
    "too deep": (b'{"documents": ' + b'[{"a":' * 100_000, "the JSON is nested too deeply"),
    "a model that is a number": (without(model=1), "Expected `str | null`, got `int` - at `$.model`"),
    "a query that is a list": (without(query=["q"]), "Expected `str | object | null`, got `array` - at `$.query`"),
    "a query that is an object": (
        without(query={"text": "q"}),
        "Expected `str`, a picture or content parts - at `$.query`",
    ),
    "documents that are text": (without(documents="a"), "Expected `array | null`, got `str` - at `$.documents`"),
    "a document that is a number": (
        without(documents=["a", 1]),
        "Expected `str | object | null`, got `int` - at `$.documents[1]`",
    ),
    "a document that is a list": (
        without(documents=[["a"]]),
        "Expected `str | object | null`, got `array` - at `$.documents[0]`",
    ),
    "a text that is a number": (without(documents=["a", {"text": 1}]), "Expected `str` - at `$.documents[1].text`"),
    "top_n as text": (without(top_n="two"), "Expected `int | null`, got `str` - at `$.top_n`"),
    "top_n with a fraction": (without(top_n=1.5), "Expected `int | null`, got `float` - at `$.top_n`"),
    "top_n as a truth": (without(top_n=True), "Expected `int | null`, got `bool` - at `$.top_n`"),
    "return_documents as text": (
        without(return_documents="yes"),
        "Expected `true` or `false` - at `$.return_documents`",
    ),
    "scores of another kind": (
        without(scores="prob"),
        "Expected `provider` or `probability` - at `$.scores`",
    ),
    "fallbacks as text": (without(fallbacks="a/b"), "Expected `array | null`, got `str` - at `$.fallbacks`"),
    "fallbacks as objects": (
        without(fallbacks=[{"provider": "a", "model": "b"}]),
        "Expected `str`, got `object` - at `$.fallbacks[0]`",
    ),
    "a wrong type before a missing model": (
        {"top_n": "two"},
        "Expected `int | null`, got `str` - at `$.top_n`",
    ),
}


@pytest.mark.parametrize(("body", "reason"), FORMAT.values(), ids=FORMAT)
def test_a_body_of_the_wrong_form_is_refused_with_the_place(body: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(body)
    assert caught.value.message.startswith(f"invalid request format: {reason}")


def test_a_long_fallback_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(without(fallbacks=["x" * 10_000]))
    assert len(caught.value.message) < 300


STRUCTURED = {"Title": "Carson City", "Content": "The capital: of Nevada", "Tags": ["a", 1, None], "Année": "1864 🏛"}
ACCEPTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "the least": (VALID, {"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a", "b"], "top_n": None}),
    "objects with text": (without(documents=[{"text": "a"}, {"text": "b", "id": 1}]), {"documents": ["a", "b"]}),
    "strings and objects mixed": (without(documents=["a", {"text": "b", "meta": {}}]), {"documents": ["a", "b"]}),
    "structured data as YAML": (
        without(documents=[STRUCTURED]),
        {
            "documents": [
                "Title: Carson City\nContent: 'The capital: of Nevada'\nTags:\n- a\n- 1\n- null\nAnnée: 1864 🏛\n"
            ]
        },
    ),
    "structured data keeps its order": (without(documents=[{"z": 1, "a": 2}]), {"documents": ["z: 1\na: 2\n"]}),
    "long lines are not broken": (
        without(documents=[{"a": "x " * 99 + "x"}]),
        {"documents": ["a: " + "x " * 99 + "x\n"]},
    ),
    "an id alone is data": (without(documents=[{"id": "7"}]), {"documents": ["id: '7'\n"]}),
    "content parts": (
        without(query={"content": [{"type": "text"}]}, documents=[{"content": [{"type": "image_url"}]}]),
        {"query": ContentParts([{"type": "text"}]), "documents": [ContentParts([{"type": "image_url"}])]},
    ),
    "blanks around are kept": (without(query=" q ", documents=[" a "]), {"query": " q ", "documents": [" a "]}),
    "documents alike": (without(documents=["a", "a"]), {"documents": ["a", "a"]}),
    "top_n": (without(top_n=1), {"top_n": 1}),
    "top_n beyond the list": (without(top_n=99), {"top_n": 99}),
    "top_k for top_n": (without(top_k=1), {"top_n": 1}),
    "top_n before top_k": (without(top_n=1, top_k=2), {"top_n": 1}),
    "a null top_n and a top_k": (without(top_n=None, top_k=2), {"top_n": 2}),
    "nulls": (
        without(top_n=None, max_tokens_per_doc=None, priority=None, return_documents=None, fallbacks=None, top_k=None),
        {"top_n": None, "max_tokens_per_doc": None, "priority": None, "return_documents": False, "extra": {}},
    ),
    "the rest": (
        without(max_tokens_per_doc=5, priority=7, return_documents=True),
        {"max_tokens_per_doc": 5, "priority": 7, "return_documents": True},
    ),
    "spans": (without(return_spans=True), {"return_spans": True, "extra": {}}),
    "spans, as Cohere's clients ask": (
        without(relevant_spans={"mode": "enabled", "max_spans": 2}),
        {"return_spans": True, "extra": {"relevant_spans": {"threshold": None, "max_spans": 2}}},
    ),
    "no spans, as Cohere's clients ask": (
        without(relevant_spans={"mode": "disabled", "max_spans": 2}),
        {"return_spans": False, "extra": {}},
    ),
    "an instruction": (without(instruction="prefer manuals"), {"instruction": "prefer manuals", "extra": {}}),
    "an instruction to do without one": (without(instruction=""), {"instruction": ""}),
    "a kind of scores and a threshold": (
        without(scores="probability", min_score="0.5"),
        {"scores": "probability", "min_score": 0.5},
    ),
    "unknown fields": (without(stream=False, nonsense={"a": [1]}), {"extra": {}}),
    "fields that an adapter declares": (
        without(truncation=False, rank_fields=["a"]),
        {"extra": {"truncation": False, "rank_fields": ["a"]}},
    ),
    "a null for such a field": (without(truncation=None), {"extra": {}}),
    "a fallback": (without(fallbacks=["a/b", "c/d/e"]), {}),
    "no fallback": (without(fallbacks=[]), {}),
    "a key twice, the last counts": (b'{"model":"x","model":"m","query":"q","documents":["a"]}', {"model": "m"}),
    "escapes": (b'{"model":"m","query":"\\ud83d\\ude00","documents":["\\u00e9"]}', {"query": "😀", "documents": ["é"]}),
}


URL = "https://img.example/a.png"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def inline(kind: str, data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}


PICTURES: dict[str, tuple[Any, Any]] = {
    "an address": ({"image": URL}, [PICTURE]),
    "an address in capitals": (
        {"image": "HTTPS://IMG/A"},
        [{"type": "image_url", "image_url": {"url": "HTTPS://IMG/A"}}],
    ),
    "with text": ({"text": "a cog", "image": URL}, [text("a cog"), PICTURE]),
    "text behind it": ({"image": URL, "text": "a cog"}, [text("a cog"), PICTURE]),
    "with text, and more": ({"text": "a cog", "image": URL, "price": 3}, [text("a cog"), PICTURE]),
    "with a blank text": ({"text": " ", "image": URL}, [PICTURE]),
    "with a null text": ({"text": None, "image": URL}, [PICTURE]),
    "with an id and meta": ({"id": 7, "meta": {}, "image": URL}, [PICTURE]),
    "an object": ({"image": {"url": URL}}, [PICTURE]),
    "image_url": ({"image_url": URL}, [PICTURE]),
    "a content part": (PICTURE, [PICTURE]),
    "a video": ({"text": "a cog", "video": URL}, [text("a cog"), {"type": "video_url", "video_url": {"url": URL}}]),
    "a picture and a video": (
        {"video_url": {"url": URL}, "image": URL},
        [PICTURE, {"type": "video_url", "video_url": {"url": URL}}],
    ),
    "content parts beside text": ({"text": "a cog", "content": [PICTURE]}, [text("a cog"), PICTURE]),
    "other content beside text": ({"text": "a cog", "content": ["chapter 1"]}, "a cog"),
    "a data URL": ({"image": "data:image/webp;base64,UklG"}, [inline("webp", "UklG")]),
    "base64": ({"image": "QUJD"}, [inline("png", "QUJD")]),
    "base64 of a JPEG": ({"image": "/9j/4AAQ"}, [inline("jpeg", "/9j/4AAQ")]),
    "base64 of a GIF": ({"image": "R0lGODlh"}, [inline("gif", "R0lGODlh")]),
    "base64 in lines": ({"image": "QUJD\r\nQUI=\r\n"}, [inline("png", "QUJDQUI=")]),
    "much base64": ({"image": "QUJD" * 100_000}, [inline("png", "QUJD" * 100_000)]),
    "no picture beside text": ({"text": "a cog", "image": None}, "a cog"),
    "an empty picture beside text": ({"text": "a cog", "image": ""}, "a cog"),
    "a record that has a picture": ({"title": "a cog", "image": URL}, f"title: a cog\nimage: {URL}\n"),
}


@pytest.mark.parametrize(("document", "ranked"), PICTURES.values(), ids=PICTURES)
def test_a_picture_is_content_parts(document: Any, ranked: Any) -> None:
    expected = ContentParts(ranked) if isinstance(ranked, list) else ranked
    assert asked(without(documents=["a", document])).documents == ["a", expected]
    if isinstance(ranked, list) and "content" not in document:
        assert asked(without(query=document)).query == expected


NO_PICTURES: dict[str, Any] = {
    "a file's name": "cog.png",
    "a path": "/pictures/cog.png",
    "a file": "file:///etc/passwd",
    "words": "a cog",
    "a number": 7,
    "a list": [URL],
    "an object without url": {"address": URL},
    "base64 cut short": "QUJ",
}


@pytest.mark.parametrize("image", NO_PICTURES.values(), ids=NO_PICTURES)
@pytest.mark.parametrize("beside", [{}, {"text": "a cog"}], ids=["alone", "beside text"])
def test_what_is_no_picture_is_refused_with_the_place(image: Any, beside: dict[str, str]) -> None:
    told = "invalid request format: a picture must be an http, https or data URL, or base64 - at `{}`"
    for body, place in (
        (without(documents=["a", {"image": image, **beside}]), "$.documents[1]"),
        (without(query={"image": image, **beside}), "$.query"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            asked(body)
        assert caught.value.message == told.format(place)


def test_a_video_in_base64_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a picture must be"):
        asked(without(documents=[{"video": "QUJD"}]))


def test_a_picture_of_nothing_is_a_blank_document() -> None:
    with pytest.raises(InvalidRequest, match="document text is required for rerank at index 0"):
        asked(without(documents=[{"text": "", "image": ""}]))


@pytest.mark.parametrize(("body", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(body: Any, expected: dict[str, Any]) -> None:
    request = asked(body)
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_configured_name_is_a_fallback_without_a_slash() -> None:
    assert asked(without(fallbacks=["fast"]), names=("fast",)).model == VALID["model"]


def test_a_large_request_is_decoded_whole() -> None:
    documents = [f"document {number}" for number in range(20_000)]
    assert asked(without(documents=documents)).documents == documents


def test_every_field_of_the_contract_is_read() -> None:
    assert set(msgspec.structs.asdict(DECODE(incoming(b"{}")))) - {"truncation", "rank_fields"} == {
        "model", "query", "documents", "top_n", "top_k", "max_tokens_per_doc", "priority", "return_documents",
        "fallbacks", "texts", "max_chunks_per_doc", "scores", "min_score", "instruction",
        "return_spans", "relevant_spans",
    }  # fmt: skip
