"""Vendors with a wire shape of their own: what is sent, and what is read out of every answer in `tests/wire/`."""

from __future__ import annotations

from typing import Any

import pytest

from providers.types import Ranked, Ranking, Usage
from tests.providers.vendor import MINIMAL, OBJECTS, QUERY, TEXTS, Vendor, adapter, scores, vendor_tests

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

ARN = "arn:aws:bedrock:us-west-2::foundation-model/a-model"
BEDROCK_CONFIGURATION = "bedrockRerankingConfiguration"
VERTEX = {
    "model": "a-model",
    "query": QUERY,
    "records": [{"id": str(index), "content": text} for index, text in enumerate(TEXTS)],
    "ignoreRecordDetailsInResponse": True,
}


def decisions(*context: str) -> dict[str, Any]:
    def texts(*given: str) -> list[dict[str, str]]:
        return [{"type": "input_text", "text": text} for text in given]

    return {
        "model": "a-model",
        "input": [{"role": "user", "content": texts(QUERY, *context)}],
        "questions": [{"type": "predicate", "instructions": texts(STATEMENT, text)} for text in TEXTS],
    }


def bedrock(model: str, wanted: int) -> dict[str, Any]:
    documents = [{"type": "TEXT", "textDocument": {"text": text}} for text in TEXTS]
    return {
        "queries": [{"type": "TEXT", "textQuery": {"text": QUERY}}],
        "sources": [{"type": "INLINE", "inlineDocumentSource": document} for document in documents],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            BEDROCK_CONFIGURATION: {"numberOfResults": wanted, "modelConfiguration": {"modelArn": model}},
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
                {"instruction": "manuals"},
                {**DASHSCOPE, "instruct": "manuals"},
            ),
            "both names": ({"instruction": "b", "extra": {"instruct": "a"}}, {**DASHSCOPE, "instruct": "a"}),
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
    "bedrock": Vendor(
        options={"region": "us-west-2"},
        sends={
            "no more than needed": ({}, bedrock(ARN, 3)),
            "a limit": ({"top_n": 2}, bedrock(ARN, 2)),
            "a limit beyond the list": (
                {"top_n": 9},
                bedrock(ARN, 3),
            ),
            "a whole name": (
                {"model": "arn:aws:bedrock:eu-central-1::foundation-model/amazon.rerank-v1:0"},
                bedrock("arn:aws:bedrock:eu-central-1::foundation-model/amazon.rerank-v1:0", 3),
            ),
        },
        reads={
            "success": scores(0.68, 0.02),
            "odd_more_pages": scores(0.68, 0.02),
            "odd_cohere": scores(0.68, 0.02),
        },
        says={
            "error_400": "Cannot provide numberOfResults value that exceeds the number of sources.",
            "error_403": "User is not authorized to perform: bedrock:Rerank",
            "error_404": "The provided model identifier was not found.",
            "error_424": "The dependency failed.",
            "error_429": "Too many requests, please wait before trying again.",
            "error_500": "Internal server error.",
        },
    ),
    "vertex": Vendor(
        options={"project": "a-project"},
        sends={
            "no more than needed": ({}, VERTEX),
            "a limit": ({"top_n": 2}, {**VERTEX, "topN": 2}),
            "a limit beyond the list": ({"top_n": 9}, {**VERTEX, "topN": 3}),
        },
        reads={"success": scores(0.98, 0.21), "odd_details": scores(0.98, 0.21)},
        says={
            "error_400": "At most 200 records can be ranked.",
            "error_401": "Request had invalid authentication credentials.",
            "error_403": "The caller does not have permission.",
            "error_429": "Quota exceeded for the metric.",
            "error_500": "Internal error encountered.",
        },
    ),
    "openai-decisions": Vendor(
        sends={
            "one question for each document": ({"top_n": 1}, decisions()),
            "an instruction": ({"instruction": "manuals"}, decisions("manuals")),
        },
        reads={
            "success": Ranking(
                results=[Ranked(0, 0.25), Ranked(1, 0.875), Ranked(2, 0.5)],
                usage=Usage(prompt_tokens=120, completion_tokens=0, total_tokens=120),
            ),
            "minimal": Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25), Ranked(2, 0.75)]),
            "odd_one_refusal": Ranking(results=[Ranked(0, 0.25), Ranked(2, 0.75)]),
        },
        says={
            "error_400": "Too many questions: at most 400 can be asked.",
            "error_401": "Incorrect API key provided.",
            "error_429": "Rate limit reached for gpt-6-luna.",
        },
        refuses={
            "odd_all_refused": "the model declined to judge any of the documents",
            "odd_too_few": "it has 1 scores in the order of the documents, of which there are 3",
            "odd_too_many": "it has 4 scores in the order of the documents, of which there are 3",
        },
    ),
    "systemone": Vendor(
        sends={
            "one question for each document": ({"top_n": 1}, SYSTEMONE),
            "an instruction": (
                {"instruction": "manuals"},
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


test_vendor = vendor_tests(VENDORS)

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
    path = adapter(name, VENDORS[name].options).path
    assert callable(path)
    assert {model: path(model) for model in paths} == paths
