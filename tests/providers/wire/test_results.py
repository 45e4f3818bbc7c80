"""The one reader of answers: what servers are known to send is read, whichever adapter is in use, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.adapters import cohere, jina, vllm, voyage
from providers.errors import BadAnswer
from providers.spec import HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.wire.results import decode_response

ADAPTERS = {adapter.name: adapter for adapter in (cohere.PROVIDER, jina.PROVIDER, vllm.PROVIDER, voyage.PROVIDER)}
ROWS = [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.0}]
RANKED = [Ranked(1, 0.75), Ranked(0, 0.0)]
REQUEST = RerankRequest(model="m", query="q", documents=["a", "b"])

each_adapter = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)


def decode(adapter: HttpProvider, answer: Any) -> Ranking:
    return adapter.decode(answer if isinstance(answer, bytes) else json.dumps(answer).encode(), REQUEST)


def scored(name: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"index": row["index"], name: row["relevance_score"], **fields} for row in ROWS]


CLOUDFLARE = [{"id": row["index"], "score": row["relevance_score"]} for row in ROWS]
SHAPES: dict[str, Any] = {
    "results": {"results": ROWS},
    "data": {"data": ROWS},
    "data with score": {"data": scored("score")},
    "rankings with logit": {"rankings": scored("logit")},
    "ranks": {"ranks": ROWS},
    "rerank": {"rerank": ROWS},
    "response with id": {"response": CLOUDFLARE},
    "output.results": {"output": {"results": ROWS}, "request_id": "r"},
    "result.response with id": {"result": {"response": CLOUDFLARE}, "success": True, "errors": [], "messages": []},
    "a bare list": ROWS,
    "a bare list with score and documents' ids": scored("score", id="d7", document="a"),
    "data in results": {"results": {"data": 1}, "data": ROWS},
    "no rows, then rows": {"results": [], "data": ROWS},
    "rows, then no rows": {"data": [], "results": ROWS},
    "null, then rows": {"results": None, "data": None, "rankings": scored("logit")},
    "other lists before the rows": {"results": ["a", "b"], "data": ROWS},
    "counts in floats and quotes": {"results": [{"index": 1.0, "score": "0.75"}, {"index": "0", "score": 0}]},
    "a null before a score": {"results": scored("score", relevance_score=None)},
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps({"results": ROWS, "data": ROWS}).encode(),
    "half an emoji": b'{"results": [{"index": 1, "relevance_score": 0.75, "document": "\\ud83d"}, '
    b'{"index": 0, "score": 0.0, "document": {"text": "\\ude00 a"}}]}',
    "bytes that are no text": b'{"results": [{"index": 1, "relevance_score": 0.75, "document": "\xff"}, '
    b'{"index": 0, "score": 0.0}]}',
    "a sound ranking beside an error": {"results": ROWS, "error": {"message": "slow"}, "message": "ok"},
}


@each_adapter
@pytest.mark.parametrize("answer", SHAPES.values(), ids=SHAPES)
def test_rows_are_found_wherever_servers_put_them(adapter: HttpProvider, answer: Any) -> None:
    assert decode(adapter, answer).results == RANKED


ODD = {
    "an id that is a number": {"id": 42},
    "an id that is a list": {"id": ["r"]},
    "an id that is half an emoji": {"id": "\ud83d"},
    "usage as text": {"usage": "12 tokens"},
    "usage as a list": {"usage": []},
    "usage of lists": {"usage": {"total_tokens": [1], "prompt_tokens": {}}},
    "usage without end": {"usage": {"total_tokens": 1e999, "prompt_tokens": 1.5}},
    "meta as a list": {"meta": []},
    "meta as text": {"meta": "none"},
    "meta of text": {"meta": {"tokens": "?", "billed_units": 1}},
    "meta of NaN": {"meta": {"tokens": {"input_tokens": float("nan"), "output_tokens": float("inf")}}},
    "infinity in quotes": {"meta": {"billed_units": {"search_units": "inf", "input_tokens": "Infinity"}}},
    "NaN anywhere": {"latency": float("nan")},
}


@each_adapter
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_side_field_counts_as_absent(adapter: HttpProvider, odd: dict[str, Any]) -> None:
    assert decode(adapter, {"results": ROWS, "data": ROWS, **odd}) == Ranking(results=RANKED)


def test_the_sound_part_of_an_odd_side_field_counts() -> None:
    meta = {"billed_units": {"search_units": 1, "input_tokens": "?"}, "tokens": []}
    assert decode(cohere.PROVIDER, {"results": ROWS, "id": 1, "meta": meta}).usage == Usage(search_units=1.0)
    ranking = decode(jina.PROVIDER, {"results": ROWS, "id": "r", "usage": {"total_tokens": "57", "prompt_tokens": []}})
    assert ranking == Ranking(results=RANKED, usage=Usage(total_tokens=57), id="r")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
parts = st.dictionaries(
    st.sampled_from(["tokens", "billed_units", "total_tokens", "prompt_tokens", "input_tokens", "search_units"]),
    anything,
)
side = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "usage", "meta", "model", "object", "error", "message"), anything | parts)
)


@each_adapter
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(side=side)
def test_no_side_field_costs_a_sound_ranking(adapter: HttpProvider, side: dict[str, Any]) -> None:
    ranking = decode(adapter, {**side, "results": ROWS, "data": ROWS})
    assert ranking.results == RANKED
    msgspec.json.encode(ranking.id)  # What is kept of it can be passed on.


UNSOUND: dict[str, Any] = {
    "no index": {"results": [{"relevance_score": 0.5}]},
    "a document's id is no index": {"results": [{"id": 0, "relevance_score": 0.5}], "data": [{"id": 0, "score": 1}]},
    "no score": {"results": [{"index": 0}]},
    "a score in words": {"results": [{"index": 0, "relevance_score": "high"}]},
    "a score that is a truth": {"results": [{"index": 0, "relevance_score": True}]},
    "a score that is NaN": {"results": [{"index": 0, "relevance_score": float("nan")}]},
    "one row of two": {"results": [ROWS[0], None]},
    "an index that is a truth": {"results": [{"index": True, "relevance_score": 0.5}]},
    "an index between two": {"results": [{"index": 0.5, "relevance_score": 0.5}]},
    "scores alone": [0.5, 0.25],
    "cut short": b'{"results": [{"index": 0, "relevance_score": 0.5}',
    "two answers": b'{"results": []} {"results": []}',
}


@each_adapter
@pytest.mark.parametrize("answer", UNSOUND.values(), ids=UNSOUND)
def test_what_is_needed_is_never_guessed(adapter: HttpProvider, answer: Any) -> None:
    with pytest.raises((ValueError, BadAnswer)):
        decode(adapter, answer)


SENTENCE = "the model is being loaded"
ERRORS: dict[str, Any] = {
    "message": {"message": SENTENCE, "id": "1"},
    "detail": {"detail": SENTENCE},
    "a list of details": {"detail": [{"loc": [], "msg": SENTENCE}]},
    "a detail's error": {"detail": {"error": SENTENCE}},
    "an error's message": {"error": {"message": SENTENCE, "type": "server_error", "code": 503}},
    "an error": {"error": SENTENCE, "error_type": "Backend"},
    "flat": {"object": "error", "message": SENTENCE, "code": 503},
    "a code and a message": {"code": "InvalidParameter", "message": SENTENCE, "request_id": "1"},
    "a flag and errors": {"success": False, "errors": [{"code": 5, "message": SENTENCE}], "result": None},
    "a flag and a reason": {"error": True, "reason": SENTENCE},
    "beside no rows": {"results": [], "data": [], "error": {"message": SENTENCE}},
    "beside null rows": {"results": None, "data": None, "message": SENTENCE},
    "in place of the rows": {"results": {"error": SENTENCE}, "data": {"error": SENTENCE}},
    "in each row": {"results": [{"error": SENTENCE}], "data": [{"error": SENTENCE}]},
    "in a list": [{"error": {"message": SENTENCE}}],
    "below": {"output": {"code": "Throttling", "message": SENTENCE}},
    "a text": SENTENCE,
    "with a byte order mark": b"\xef\xbb\xbf" + json.dumps({"error": SENTENCE}).encode(),
    "with NaN": b'{"took": NaN, "error": "the model is being loaded"}',
}


@each_adapter
@pytest.mark.parametrize("answer", ERRORS.values(), ids=ERRORS)
def test_an_error_with_a_200_says_why(adapter: HttpProvider, answer: Any) -> None:
    with pytest.raises(BadAnswer) as raised:
        decode(adapter, answer)
    assert raised.value.message == f"it has no ranking, but says: {SENTENCE}"


UNKNOWN_PATH = "Unexpected endpoint or method. (POST /v1/rerank). Returning 200 anyway"
LM_STUDIO = {"an error": {"error": UNKNOWN_PATH}, "a text": UNKNOWN_PATH, "not even JSON": UNKNOWN_PATH.encode()}


@each_adapter
@pytest.mark.parametrize("answer", LM_STUDIO.values(), ids=LM_STUDIO)
def test_a_server_without_a_rerank_api_is_named_as_that(adapter: HttpProvider, answer: Any) -> None:
    with pytest.raises(BadAnswer) as raised:
        decode(adapter, answer)
    assert raised.value.message == f"this server has no rerank API (it says: {UNKNOWN_PATH})"


SCORES: dict[str, Any] = {
    "an odd id and usage": {"id": 7, "usage": "?", "data": scored("score")},
    "another name of a score": {"data": ROWS},
    "another name of the rows": {"results": scored("score")},
    "a bare list": scored("score"),
}


@pytest.mark.parametrize("answer", SCORES.values(), ids=SCORES)
def test_the_score_api_is_read_as_tolerantly(answer: Any) -> None:
    assert vllm.PROVIDER.score is not None
    assert vllm.PROVIDER.score.decode(json.dumps(answer).encode(), REQUEST) == Ranking(results=RANKED)


class Hit(msgspec.Struct):
    position: int
    score: float


class Answer(msgspec.Struct):
    hits: list[Hit]
    tokens: int | None = None


def test_a_shape_of_its_own_is_kept_when_a_side_field_is_odd() -> None:
    decoder = msgspec.json.Decoder(Answer)
    body = {"hits": [{"position": 1, "score": 0.5}], "tokens": "many"}
    assert decode_response(json.dumps(body).encode(), decoder) == Answer([Hit(1, 0.5)])
    with pytest.raises(msgspec.ValidationError, match="missing required field `hits`"):
        decode_response(json.dumps({"results": ROWS}).encode(), decoder)
