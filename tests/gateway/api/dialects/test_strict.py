"""The strict mounts: each vendor's answer and error bodies, to the letter."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.gateway.api.dialects.conftest import DOCUMENTS, ORDER, SCORES, Ask, with_usage

ROWS = [{"index": index, "relevance_score": score} for index, score in zip(ORDER, SCORES, strict=True)]
TEXTS = [DOCUMENTS[index] for index in ORDER]
HEADERS = {"x-request-id": "our-id"}
META = {
    "api_version": {"version": "1"},
    "billed_units": {"input_tokens": 7},
    "tokens": {"input_tokens": 7, "output_tokens": 0},
}
META_2 = {**META, "api_version": {"version": "2"}}
TOKENS = {"prompt_tokens": 7, "total_tokens": 7}


def with_documents(make: Any) -> list[dict[str, Any]]:
    return [{**row, "document": make(text)} for row, text in zip(ROWS, TEXTS, strict=True)]


def vllm(text: str) -> dict[str, Any]:
    return {"text": text, "multi_modal": None}


ANSWERS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "Cohere v1": ("/cohere/v1/rerank", {}, {"id": "our-id", "results": ROWS, "meta": META}),
    "Cohere v1, documents": (
        "/cohere/v1/rerank",
        {"return_documents": True},
        {"id": "our-id", "results": with_documents(lambda text: {"text": text}), "meta": META},
    ),
    "Cohere v2": ("/cohere/v2/rerank", {}, {"id": "our-id", "results": ROWS, "meta": META_2}),
    "Cohere v2 never gives documents": (
        "/cohere/v2/rerank",
        {"return_documents": True, "relevant_spans": {"mode": "enabled"}, "max_tokens_per_doc": None},
        {"id": "our-id", "results": ROWS, "meta": META_2},
    ),
    "Jina": ("/jina/v1/rerank", {}, {"model": "m", "object": "list", "usage": {"total_tokens": 7}, "results": ROWS}),
    "Jina, documents": (
        "/jina/v1/rerank",
        {"return_documents": True, "documents": ["nothing", {"text": "one of two"}, "two words"]},
        {
            "model": "m",
            "object": "list",
            "usage": {"total_tokens": 7},
            "results": with_documents(lambda text: {"text": text}),
        },
    ),
    "Voyage": ("/voyage/v1/rerank", {}, {"object": "list", "data": ROWS, "model": "m", "usage": {"total_tokens": 7}}),
    "Voyage, documents": (
        "/voyage/v1/rerank",
        {"return_documents": True, "top_k": 3},
        {"object": "list", "data": with_documents(str), "model": "m", "usage": {"total_tokens": 7}},
    ),
    "vLLM": (
        "/vllm/v1/rerank",
        {},
        {"id": "rerank-our-id", "model": "m", "usage": TOKENS, "results": with_documents(vllm)},
    ),
    "vLLM, all by top_n 0": (
        "/vllm/rerank",
        {"top_n": 0, "encoding_format": "float"},
        {"id": "rerank-our-id", "model": "m", "usage": TOKENS, "results": with_documents(vllm)},
    ),
    "Infinity": (
        "/infinity/rerank",
        {},
        {"object": "rerank", "results": ROWS, "model": "m", "usage": TOKENS, "id": "infinity-our-id"},
    ),
    "Infinity, documents": (
        "/infinity/v1/rerank",
        {"return_documents": True},
        {"object": "rerank", "results": with_documents(str), "model": "m", "usage": TOKENS, "id": "infinity-our-id"},
    ),
}


@pytest.mark.parametrize(("path", "fields", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_answers_as_the_vendor_does(path, fields, body, ask: Ask, upstream) -> None:
    with_usage(upstream, usage={"total_tokens": 7})
    response = await ask(path, headers=HEADERS, **fields)
    assert response.status_code == 200, response.text
    answer = response.json()
    answer.pop("created", None)
    assert answer == body
    assert response.headers["x-request-id"] == "our-id"


LIMITS = {
    "Cohere v1": ("/cohere/v1/rerank", "top_n", "results"),
    "Cohere v2": ("/cohere/v2/rerank", "top_n", "results"),
    "Jina": ("/jina/v1/rerank", "top_n", "results"),
    "Voyage": ("/voyage/v1/rerank", "top_k", "data"),
    "vLLM": ("/vllm/v2/rerank", "top_n", "results"),
    "Infinity": ("/infinity/rerank", "top_n", "results"),
}


@pytest.mark.parametrize("limit", [2, "2"], ids=["a number", "a number as text"])
@pytest.mark.parametrize(("path", "field", "key"), LIMITS.values(), ids=LIMITS)
async def test_gives_no_more_than_asked_for(path, field, key, limit, ask: Ask) -> None:
    answer = (await ask(path, **{field: limit})).json()
    assert [row["index"] for row in answer[key]] == ORDER[:2]


def message(sentence: str) -> dict[str, Any]:
    return {"message": sentence, "id": "our-id"}


def invalid(sentence: str, field: str, kind: str) -> dict[str, Any]:
    complaint = {"field": field, "message": sentence, "type": kind}
    return {"detail": sentence, "request_id": "our-id", "errors": [complaint]}


def said(sentence: str, kind: str, param: str | None, code: int) -> dict[str, Any]:
    return {"error": {"message": sentence, "type": kind, "param": param, "code": code}}


def complaint(sentence: str, kind: str, *place: str | int) -> dict[str, Any]:
    return {"detail": [{"type": kind, "loc": ["body", *place], "msg": sentence}]}


UNKNOWN = 'unknown model "nope/m": no provider "nope" is configured; GET /v1/models lists the names'
COHERE_UNKNOWN = (
    "model 'nope/m' not found, make sure the correct model ID was used and that you have access to the model. "
    f"({UNKNOWN})"
)
REFUSALS: dict[str, tuple[str, dict[str, Any], int, Any]] = {
    "Cohere: no model": (
        "/cohere/v2/rerank",
        {"model": ...},
        400,
        message("a model parameter is required for this endpoint."),
    ),
    "Cohere: unknown model": ("/cohere/v1/rerank", {"model": "nope/m"}, 404, message(COHERE_UNKNOWN)),
    "Cohere: no query": (
        "/cohere/v2/rerank",
        {"query": " "},
        400,
        message("invalid request: query must not be empty or be only whitespace"),
    ),
    "Cohere: no documents": (
        "/cohere/v2/rerank",
        {"documents": []},
        400,
        message("invalid request: list of documents must not be empty"),
    ),
    "Cohere: a blank document": (
        "/cohere/v2/rerank",
        {"documents": ["a", ""]},
        400,
        message("invalid request: document at index 1 cannot be empty"),
    ),
    "Cohere v2: an object": (
        "/cohere/v2/rerank",
        {"documents": [{"text": "a"}]},
        400,
        message("invalid request: Expected `str`, got `object` - at `$.documents[0]`"),
    ),
    "Cohere v1: an object without text": (
        "/cohere/v1/rerank",
        {"documents": [{"title": "a"}]},
        400,
        message("invalid request: document at index 0 must have a `text` field"),
    ),
    "Cohere v1: no rank fields": (
        "/cohere/v1/rerank",
        {"rank_fields": []},
        400,
        message("invalid request: rank_fields must be omitted or not be empty"),
    ),
    "Cohere v1: too many chunks": (
        "/cohere/v1/rerank",
        {"max_chunks_per_doc": 3334},
        400,
        message(
            "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than "
            "10000"
        ),
    ),
    "Jina: unknown model": (
        "/jina/v1/rerank",
        {"model": "nope/m"},
        400,
        {"detail": UNKNOWN, "code": "INPUT_MODEL_NOT_FOUND", "request_id": "our-id"},
    ),
    "Jina: no documents": (
        "/jina/v1/rerank",
        {"documents": ...},
        422,
        invalid("documents must have at least one item", "documents", "missing"),
    ),
    "Jina: a wrong type": (
        "/jina/v1/rerank",
        {"documents": [1]},
        422,
        invalid("Expected `str | object`, got `int` - at `$.documents[0]`", "documents.0", "type_error"),
    ),
    "Voyage: unknown model": ("/voyage/v1/rerank", {"model": "nope/m"}, 400, {"detail": UNKNOWN}),
    "Voyage: no query": (
        "/voyage/v1/rerank",
        {"query": ...},
        400,
        {"detail": "Argument 'query' is required and must not be empty."},
    ),
    "Voyage: an object": (
        "/voyage/v1/rerank",
        {"documents": [{"text": "a"}]},
        400,
        {"detail": "The request body is not valid: Expected `str`, got `object` - at `$.documents[0]`"},
    ),
    "Voyage: top_k of nothing": (
        "/voyage/v1/rerank",
        {"top_k": 0},
        400,
        {"detail": "Argument 'top_k' must be at least 1."},
    ),
    "vLLM: unknown model": (
        "/vllm/v1/rerank",
        {"model": "nope/m"},
        404,
        said(f"The model `nope/m` does not exist. {UNKNOWN}", "NotFoundError", "model", 404),
    ),
    "vLLM: a wrong type": (
        "/vllm/rerank",
        {"documents": [1]},
        400,
        said(
            "1 validation error(s): Expected `str | object`, got `int` - at `$.documents[0]`",
            "Bad Request",
            "body.documents.0",
            400,
        ),
    ),
    "vLLM: an object without parts": (
        "/vllm/rerank",
        {"documents": ["a", {"text": "b"}]},
        400,
        said(
            "1 validation error(s): Object missing required field `content` - at `$.documents[1]`",
            "Bad Request",
            "body.documents.1.content",
            400,
        ),
    ),
    "vLLM: a negative limit": (
        "/vllm/rerank",
        {"top_n": -1},
        400,
        said(
            "1 validation error(s): top_n: Input should be greater than or equal to 0", "Bad Request", "body.top_n", 400
        ),
    ),
    "vLLM: no documents": (
        "/vllm/rerank",
        {"documents": []},
        400,
        said("At least one text_pair element must be given", "BadRequestError", "body.documents", 400),
    ),
    "Infinity: unknown model": (
        "/infinity/rerank",
        {"model": "nope/m"},
        400,
        said(f"Invalid model: {UNKNOWN}", None, None, 400),  # type: ignore[arg-type]
    ),
    "Infinity: no query": ("/infinity/rerank", {"query": ...}, 422, complaint("Field required", "missing", "query")),
    "Infinity: a wrong type": (
        "/infinity/rerank",
        {"documents": ["a", 1]},
        422,
        complaint("Expected `str`, got `int` - at `$.documents[1]`", "type_error", "documents", 1),
    ),
    "Infinity: a limit of nothing": (
        "/infinity/rerank",
        {"top_n": 0},
        422,
        complaint("Input should be greater than 0", "value_error", "top_n"),
    ),
}


@pytest.mark.parametrize(("path", "fields", "status", "body"), REFUSALS.values(), ids=REFUSALS)
async def test_refuses_as_the_vendor_does(path, fields, status, body, ask: Ask) -> None:
    response = await ask(path, headers=HEADERS, **fields)
    assert (response.status_code, response.json()) == (status, body)


MOUNTS = [path for path, _, _ in LIMITS.values()]


@pytest.mark.parametrize("path", MOUNTS)
@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"\xff", b"", b"[" * 100_000], ids=["cut", "a list", "bytes", "none", "deep"]
)
async def test_what_is_no_request_is_a_4xx(path, raw, gateway) -> None:
    response = await gateway.post(path, content=raw)
    assert 400 <= response.status_code < 500
    assert response.json()


@pytest.mark.parametrize("path", MOUNTS)
async def test_a_get_is_405_in_the_vendor_s_shape(path, gateway) -> None:
    response = await gateway.get(path)
    assert response.status_code == 405
    assert "use POST" in response.text


FAILURES = {
    "a full upstream": (429, {"detail": "slow down"}, {"retry-after": "3"}, 429),
    "a broken upstream": (500, {"detail": "boom"}, {}, 502),
    "an unavailable upstream": (503, {}, {}, 503),
    "a wrong key of ours": (401, {"detail": "no"}, {}, 502),
}


UNSEEN = "no such model"
TURNED_DOWN: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "Cohere: too large": ("/cohere/v2/rerank", 413, 400, {"message": UNSEEN}),
    "Cohere: an unknown model": ("/cohere/v1/rerank", 404, 404, {"message": UNSEEN}),
    "Voyage: too large": ("/voyage/v1/rerank", 413, 400, {"detail": UNSEEN}),
    "Voyage: an unknown model": ("/voyage/v1/rerank", 404, 400, {"detail": UNSEEN}),
    "Voyage: a token that is refused": ("/voyage/v1/rerank", 498, 400, {"detail": UNSEEN}),
    "Voyage: malformed": ("/voyage/v1/rerank", 422, 422, {"detail": UNSEEN}),
    "Jina: too large": ("/jina/v1/rerank", 413, 422, {"detail": UNSEEN}),
    "Jina: an unknown model": ("/jina/v1/rerank", 404, 400, {"detail": UNSEEN, "code": "INPUT_MODEL_NOT_FOUND"}),
    "Jina: malformed": ("/jina/v1/rerank", 422, 422, {"detail": UNSEEN}),
    "Infinity: too large": ("/infinity/rerank", 413, 422, complaint(UNSEEN, "value_error")),
    "Infinity: malformed": ("/infinity/rerank", 422, 422, complaint(UNSEEN, "value_error")),
    "Infinity: an unknown model": (
        "/infinity/rerank",
        404,
        400,
        said(f"Invalid model: {UNSEEN}", None, None, 400),  # type: ignore[arg-type]
    ),
}


def without_id(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("id", "request_id")}


@pytest.mark.parametrize(("path", "given", "status", "body"), TURNED_DOWN.values(), ids=TURNED_DOWN)
async def test_a_target_s_refusal_is_the_vendor_s(path, given, status, body, ask: Ask, upstream) -> None:
    upstream.reply_with(given, {"detail": UNSEEN})
    response = await ask(path)
    assert response.status_code == status
    assert UNSEEN in response.text
    assert without_id(response.json()).keys() == body.keys()
    assert response.json().get("code") == body.get("code")


TOO_MANY_BY_PATH = {
    "/cohere/v1/rerank": 400,
    "/cohere/v2/rerank": 400,
    "/jina/v1/rerank": 422,
    "/voyage/v1/rerank": 400,
    "/infinity/rerank": 422,
}


@pytest.mark.parametrize(("path", "status"), TOO_MANY_BY_PATH.items(), ids=TOO_MANY_BY_PATH)
async def test_too_many_documents_are_a_fault_of_the_request(path, status, opened, upstream) -> None:
    vendor = {"adapter": "vllm", "base_url": upstream.url}
    client = await opened({"providers": {"v": vendor}, "request_limits": {"documents": 2}})
    response = await client.post(path, json={"model": "v/m", "query": "q", "documents": ["a", "b", "c"]})
    assert response.status_code == status
    assert "request_limits.documents" in response.text
    if path.startswith("/infinity"):
        (fault,) = response.json()["detail"]
        assert fault["loc"] == ["body"]


@pytest.mark.parametrize(("key", "code"), [(None, "AUTH_MISSING_API_KEY"), ("k", "AUTH_INVALID_API_KEY")])
async def test_jina_tells_a_missing_key_from_a_wrong_one(key, code, opened, upstream) -> None:
    auth = {"keys": [{"name": "a", "hash": "sha256:" + "0" * 64}]}
    client = await opened({"providers": {"v": {"adapter": "vllm", "base_url": upstream.url}}, "auth": auth})
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    response = await client.post("/jina/v1/rerank", json={}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, code)


@pytest.mark.parametrize(("status", "body", "headers", "seen"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("path", MOUNTS)
async def test_an_upstream_s_failure_is_told(path, status, body, headers, seen, ask: Ask, upstream) -> None:
    upstream.reply_with(status, body, headers)
    response = await ask(path)
    assert response.status_code == seen
    assert response.json()
    assert response.headers.get("retry-after") == headers.get("retry-after")


class TestCohereV1:
    """Documents may be objects."""

    async def test_objects_come_back_as_they_were(self, ask: Ask) -> None:
        documents = [{"text": "two words", "title": "a", "n": "1"}, "nothing"]
        answer = (await ask("/cohere/v1/rerank", documents=documents, return_documents=True)).json()
        assert [row["document"] for row in answer["results"]] == [documents[0], {"text": "nothing"}]

    async def test_the_named_fields_are_ranked_in_their_order(self, ask: Ask, upstream) -> None:
        documents = [{"text": "no", "b": "second", "a": "first"}, {"a": "only"}, "as it is"]
        await ask("/cohere/v1/rerank", documents=documents, rank_fields=["a", "b"])
        assert upstream.requests[0].body["documents"] == ["first\nsecond", "only", "as it is"]


class TestJina:
    """Images are content parts further on."""

    async def test_an_image_goes_to_a_model_that_reads_them(self, ask: Ask, upstream) -> None:
        documents = [{"image": "https://img.example/a.png"}, {"image": "QUJD"}, "text"]
        response = await ask("/jina/v1/rerank", model="parts/m", documents=documents, return_documents=True)
        sent = [document["content"][0]["image_url"]["url"] for document in upstream.requests[0].body["documents"][:2]]
        assert sent == ["https://img.example/a.png", "data:image/png;base64,QUJD"]
        assert documents[0] in [row["document"] for row in response.json()["results"]]

    async def test_the_text_beside_an_image_goes_too(self, ask: Ask, upstream) -> None:
        both = {"text": "a cog", "image": "https://img.example/a.png"}
        response = await ask("/jina/v1/rerank", model="parts/m", query=both, documents=[both, "text"])
        parts = [
            {"type": "text", "text": "a cog"},
            {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}},
        ]
        sent = upstream.requests[0].body
        assert response.status_code == 200
        assert (sent["query"], sent["documents"]) == ({"content": parts}, [{"content": parts}, "text"])

    @pytest.mark.parametrize("image", ["cog.png", "file:///cog", "a cog"])
    async def test_what_is_no_image_is_refused(self, ask: Ask, image: str) -> None:
        response = await ask("/jina/v1/rerank", model="parts/m", documents=["a", {"image": image}])
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "documents.1.image"

    async def test_and_is_refused_for_one_that_reads_text(self, ask: Ask) -> None:
        response = await ask("/jina/v1/rerank", documents=[{"image": "https://img.example/a.png"}])
        assert response.status_code == 400
        assert "text only" in response.json()["detail"]


class TestVllm:
    """Ids, options and content parts."""

    async def test_the_body_s_id_counts_without_a_header(self, ask: Ask) -> None:
        response = await ask("/vllm/v1/rerank", request_id="theirs")
        assert (response.json()["id"], response.headers["x-request-id"]) == ("rerank-theirs", "theirs")

    async def test_the_header_wins(self, ask: Ask) -> None:
        response = await ask("/vllm/v1/rerank", headers=HEADERS, request_id="theirs")
        assert response.json()["id"] == "rerank-our-id"

    async def test_an_id_that_could_forge_a_log_line_is_replaced(self, ask: Ask) -> None:
        response = await ask("/vllm/v1/rerank", request_id="a\r\nb: c")
        assert re.fullmatch(r"rerank-[0-9a-f]{32}", response.json()["id"])

    async def test_its_own_fields_reach_a_vllm(self, ask: Ask, upstream) -> None:
        fields = {"use_activation": False, "truncate_prompt_tokens": 64, "instruction": "prefer manuals", "priority": 2}
        await ask("/vllm/rerank", model="parts/m", **fields)
        assert upstream.requests[0].body.items() >= fields.items()

    async def test_content_parts_go_through(self, ask: Ask, upstream) -> None:
        image = {"content": [{"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}]}
        response = await ask("/vllm/rerank", model="parts/m", query=image, documents=["text", image])
        assert (upstream.requests[0].body["query"], upstream.requests[0].body["documents"]) == (image, ["text", image])
        shown = {row["index"]: row["document"] for row in response.json()["results"]}
        assert shown == {0: {"text": "text", "multi_modal": None}, 1: {"text": None, "multi_modal": image["content"]}}

    async def test_one_document_need_not_be_a_list(self, ask: Ask) -> None:
        assert len((await ask("/vllm/rerank", documents="alone", model=...)).json()["results"]) == 1


async def test_infinity_s_unnamed_model_is_the_default(ask: Ask) -> None:
    response = await ask("/infinity/rerank", model="default/not-specified", raw_scores=False)
    assert response.json()["model"] == "default"
