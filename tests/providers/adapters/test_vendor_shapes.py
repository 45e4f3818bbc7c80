"""Vendors with a wire shape of their own: what is sent, and what is read out of every answer in `tests/wire/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from providers import registry
from providers.errors import BadAnswer
from providers.spec import HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

WIRE = Path(__file__).parents[2] / "wire"
QUERY = "how long does a tube last"
TEXTS = ["tubes", "helmets", "sealant"]
OBJECTS = [{"text": text} for text in TEXTS]
MINIMAL = Ranking(results=[Ranked(0, 0.5)])


class Vendor(Struct):
    """One vendor's cases.

    Attributes:
        sends: a request's fields, and the body they make.
        reads: a recorded answer, and the ranking in it; `minimal` is every vendor's own.
        says: a recorded error, and its sentence.
        options: of the provider.
        model: what the answers are to, by name, where it is not `a-model`.
        refuses: a recorded answer that is none, and what is said of it.
    """

    sends: dict[str, tuple[dict[str, Any], dict[str, Any]]]
    reads: dict[str, Ranking]
    says: dict[str, str]
    options: dict[str, Any] = {}
    models: dict[str, str] = {}
    refuses: dict[str, str] = {}

    @property
    def read(self) -> dict[str, Ranking]:
        return {"minimal": MINIMAL, **self.reads}


def scores(first: float, second: float, usage: Usage | None = None, id: str | None = None) -> Ranking:
    """Document 1 before document 0."""
    return Ranking(results=[Ranked(1, first), Ranked(0, second)], usage=usage, id=id)


PINECONE = {"model": "a-model", "query": QUERY, "documents": OBJECTS, "return_documents": False}
DASHSCOPE = {"model": "a-model", "query": QUERY, "documents": TEXTS}
DASHSCOPE_ID = "85ba5752-1900-47d2-8896-23f99b13f6e1"
NATIVE_INPUT = {"query": QUERY, "documents": TEXTS}
ZEROENTROPY = {"model": "a-model", "query": QUERY, "documents": TEXTS}
ISAACUS = {"model": "a-model", "query": QUERY, "texts": TEXTS}
WATSONX = {"model_id": "a-model", "project_id": "a-project", "query": QUERY, "inputs": OBJECTS}
ELASTIC = {"query": QUERY, "input": TEXTS, "return_documents": False}
CLOUDFLARE = {"query": QUERY, "contexts": OBJECTS}
STATEMENT = "This document is relevant to the query: it helps to answer it."
SYSTEMONE = {
    "model": "a-model",
    "state": {"query": QUERY},
    "questions": {
        str(index): {"type": "noul", "instructions": {"statement": STATEMENT, "document": text}}
        for index, text in enumerate(TEXTS)
    },
}


def native(model: str, **parameters: Any) -> dict[str, Any]:
    return {"model": model, "input": NATIVE_INPUT, "parameters": {"return_documents": False, **parameters}}


def watsonx(returns: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {**WATSONX, "parameters": {"return_options": {"inputs": False, **returns}, **parameters}}


VENDORS = {
    "pinecone": Vendor(
        sends={
            "no more than needed": ({}, PINECONE),
            "a limit beyond the list": ({"top_n": 9}, {**PINECONE, "top_n": 3}),
            "no wish for documents": ({"return_documents": True}, PINECONE),
            "the model's own": (
                {"extra": {"parameters": {"truncate": "END"}}},
                {**PINECONE, "parameters": {"truncate": "END"}},
            ),
        },
        reads={
            "success": scores(0.95, 0.25, Usage(search_units=1)),
            "odd_documents": scores(0.95, 0.25, Usage(search_units=2.5)),
            "odd_no_usage": scores(0.95, 0.25),
            "odd_relevance_score": scores(0.95, 0.25, Usage(search_units=1)),
        },
        says={
            "error_400": "Model 'a-model' does not take the parameter 'trunc'",
            "error_401": "Invalid API key.",
            "error_403": "Project is not authorized to use this model.",
            "error_404": "Model 'a-model' not found.",
            "error_429": "Request limit reached for this month.",
            "error_500": "Internal server error.",
        },
    ),
    "dashscope": Vendor(
        sends={
            "no more than needed": ({}, DASHSCOPE),
            "a limit": ({"top_n": 2}, {**DASHSCOPE, "top_n": 2}),
            "an instruction": ({"extra": {"instruct": "manuals"}}, {**DASHSCOPE, "instruct": "manuals"}),
            "an instruction by its usual name": (
                {"extra": {"instruction": "manuals"}},
                {**DASHSCOPE, "instruct": "manuals"},
            ),
            "both names": ({"extra": {"instruct": "a", "instruction": "b"}}, {**DASHSCOPE, "instruct": "a"}),
            "natively": ({"model": "gte-rerank-v2"}, native("gte-rerank-v2")),
            "natively a limit and an instruction": (
                {"model": "qwen3-vl-rerank", "top_n": 9, "extra": {"instruct": "manuals"}},
                native("qwen3-vl-rerank", top_n=3, instruct="manuals"),
            ),
        },
        reads={
            "success": scores(0.875, 0.25, Usage(total_tokens=79), DASHSCOPE_ID),
            "odd_documents": scores(0.875, 0.25, Usage(total_tokens=79)),
            "odd_native_from_the_compatible": scores(0.875, 0.25, Usage(total_tokens=79)),
            "native": scores(0.875, 0.25, Usage(total_tokens=79), DASHSCOPE_ID),
            "native_minimal": MINIMAL,
            "native_documents": scores(0.875, 0.25, Usage(total_tokens=79)),
        },
        models=dict.fromkeys(("native", "native_minimal", "native_documents"), "gte-rerank-v2"),
        says={
            "error_400": "Input should be a valid list: input.documents",
            "error_401": "Invalid API-key provided.",
            "error_404_compatible": "The model `a-model` does not exist.",
            "error_429": "Requests rate limit exceeded, please try again later.",
        },
    ),
    "isaacus": Vendor(
        sends={
            "no more than needed": ({}, ISAACUS),
            "a limit": ({"top_n": 2}, {**ISAACUS, "top_n": 2}),
            "its own fields": (
                {"extra": {"is_iql": False, "scoring_method": "chunk_avg", "chunking_options": {"size": 64}}},
                {**ISAACUS, "is_iql": False, "scoring_method": "chunk_avg", "chunking_options": {"size": 64}},
            ),
        },
        reads={
            "success": scores(0.75, 0.25, Usage(prompt_tokens=19, total_tokens=19)),
            "odd_usage": scores(0.75, 0.25),
            "odd_relevance_score": scores(0.75, 0.25),
        },
        says={"error_401": "Invalid API key.", "error_422": "texts: must not be empty"},
    ),
    "zeroentropy": Vendor(
        sends={
            "no more than needed": ({}, ZEROENTROPY),
            "a limit and a pace": (
                {"top_n": 2, "extra": {"latency": "slow"}},
                {**ZEROENTROPY, "top_n": 2, "latency": "slow"},
            ),
        },
        reads={"success": scores(0.875, 0.25, Usage(total_tokens=33)), "odd_total": scores(0.875, 0.25)},
        says={"error_401": "Invalid API Key", "error_429": "Ratelimit exceeded."},
    ),
    "watsonx": Vendor(
        options={"project_id": "a-project"},
        sends={
            "no more than needed": ({}, watsonx({})),
            "a limit": ({"top_n": 2}, watsonx({"top_n": 2})),
            "a cut": ({"extra": {"truncate_input_tokens": 256}}, watsonx({}, truncate_input_tokens=256)),
        },
        reads={
            "success": scores(2.9258, -0.9204, Usage(prompt_tokens=41, total_tokens=41)),
            "odd_inputs": scores(2.9258, -0.9204, Usage(prompt_tokens=41, total_tokens=41)),
        },
        says={
            "error_400": "Missing either space_id or project_id or wml_instance_crn",
            "error_401": "Failed to authenticate the request due to an expired token",
            "error_404": "Model 'a-model' is not supported",
        },
    ),
    "elastic": Vendor(
        sends={
            "no more than needed": ({}, ELASTIC),
            "a limit": ({"top_n": 2}, {**ELASTIC, "top_n": 2}),
            "settings of the task": (
                {"extra": {"task_settings": {"top_n": 1}}},
                {**ELASTIC, "task_settings": {"top_n": 1}},
            ),
        },
        reads={"success": scores(0.875, -0.25), "odd_texts": scores(0.875, -0.25)},
        says={
            "error_401": "unable to authenticate with provided credentials",
            "error_404": "Inference endpoint not found [a-model]",
            "error_429": "Received a rate limit status code",
        },
    ),
    "cloudflare": Vendor(
        options={"account_id": "an-account"},
        sends={"no more than needed": ({}, CLOUDFLARE), "a limit": ({"top_n": 2}, {**CLOUDFLARE, "top_k": 2})},
        reads={"success": scores(0.875, 0.0078125), "odd_bare": scores(0.875, 0.0078125)},
        says={
            "error_400": "AiError: Bad input: contexts must not be empty",
            "error_401": "Authentication error",
            "error_429": "AiError: Capacity temporarily exceeded, please try again.",
        },
        refuses={"error_200": "it has no ranking, but says: No such model @cf/baai/a-model or task"},
    ),
    "systemone": Vendor(
        sends={
            "one question for each document": ({"top_n": 1}, SYSTEMONE),
            "an instruction": (
                {"extra": {"instruction": "manuals"}},
                {**SYSTEMONE, "state": {"query": QUERY, "instruction": "manuals"}},
            ),
        },
        reads={
            "success": scores(0.875, 0.25, Usage(prompt_tokens=120, completion_tokens=2, total_tokens=122)),
            "odd_usage": Ranking(
                results=[Ranked(0, 0.25), Ranked(1, 0.875)], usage=Usage(prompt_tokens=120, total_tokens=120)
            ),
        },
        says={
            "error_401": "Invalid API key.",
            "error_422": "body.state: Field required",
            "error_529": "The service is overloaded.",
        },
    ),
}


def adapter(name: str) -> HttpProvider:
    """The adapter, with the vendor's options in force."""
    found = registry.find(name)
    assert isinstance(found, HttpProvider)
    options = found.options
    return found if options is None else options.apply(msgspec.convert(VENDORS[name].options, options.shape))


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(name, case, expected, id=f"{name}, {case}")
        for name, vendor in VENDORS.items()
        for case, expected in getattr(vendor, kind).items()
    ]


@pytest.mark.parametrize(("name", "_", "case"), cases("sends"))
def test_sends(name: str, _: str, case: tuple[dict[str, Any], dict[str, Any]], asked: Asked) -> None:
    fields, body = case
    assert adapter(name).encode(asked(**fields)) == body


@pytest.mark.parametrize(("name", "body", "ranking"), cases("read"))
def test_reads(name: str, body: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    model = VENDORS[name].models.get(body, "a-model")
    assert adapter(name).decode(wire(f"{name}/{body}"), asked(model=model)) == ranking


@pytest.mark.parametrize(("name", "body", "sentence"), cases("says"))
def test_says_why(name: str, body: str, sentence: str, wire: Wire) -> None:
    assert adapter(name).error_message(wire(f"{name}/{body}")) == sentence


@pytest.mark.parametrize(("name", "body", "reason"), cases("refuses"))
def test_refuses(name: str, body: str, reason: str, wire: Wire, asked: Asked) -> None:
    with pytest.raises(BadAnswer) as caught:
        adapter(name).decode(wire(f"{name}/{body}"), asked())
    assert str(caught.value) == reason


@pytest.mark.parametrize("name", VENDORS)
def test_every_recorded_body_is_a_case(name: str) -> None:
    vendor = VENDORS[name]
    assert {
        body.stem for body in (WIRE / name).iterdir()
    } == vendor.read.keys() | vendor.says.keys() | vendor.refuses.keys()


PATHS = {
    "dashscope": {
        "qwen3-rerank": "/compatible-api/v1/reranks",
        "gte-rerank-v2": "/api/v1/services/rerank/text-rerank/text-rerank",
        "qwen3-vl-rerank": "/api/v1/services/rerank/text-rerank/text-rerank",
    },
    "elastic": {".rerank-v1-elasticsearch": "/_inference/rerank/.rerank-v1-elasticsearch"},
    "cloudflare": {"@cf/baai/bge-reranker-base": "/client/v4/accounts/an-account/ai/run/@cf/baai/bge-reranker-base"},
}


@pytest.mark.parametrize(("name", "paths"), PATHS.items(), ids=PATHS)
def test_the_path_names_the_model(name: str, paths: dict[str, str]) -> None:
    path = adapter(name).path
    assert callable(path)
    assert {model: path(model) for model in paths} == paths
