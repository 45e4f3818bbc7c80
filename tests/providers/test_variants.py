"""The adapters of the table: what each sends, where, and what is read out of every recorded body."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from providers.capabilities import resolve
from providers.spec import Bearer, Header, HttpProvider, NoAuth
from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.variants import VARIANTS, PathOptions

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

WIRE = Path(__file__).parent.parent / "wire"
QUERY, DOCUMENTS = "how long does a tube last", ["tubes", "helmets", "sealant"]
NAMED = {"model": "a/model-1.2", "query": QUERY}
PLAIN = {**NAMED, "documents": DOCUMENTS}
SILENT = {**PLAIN, "return_documents": False}
NIM = {**NAMED, "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS], "truncate": "END"}
TEI = {"query": QUERY, "texts": DOCUMENTS, "truncate": True, "return_text": False}
MIXEDBREAD = {**NAMED, "input": DOCUMENTS, "return_input": False}
NVIDIA = "https://ai.api.nvidia.com/v1/retrieval/a/model-1_2/reranking"
WHERE: dict[str, tuple[str, dict[str, Any]]] = {
    "azure": ("/providers/cohere/v2/rerank", PLAIN),
    "cohere-v1": ("https://api.cohere.com/v1/rerank", SILENT),
    "compatible": ("/v1/rerank", SILENT),
    "contextual": ("https://api.contextual.ai/v1/rerank", PLAIN),
    "fireworks": ("https://api.fireworks.ai/inference/v1/rerank", SILENT),
    "infinity": ("/rerank", SILENT),
    "infron": ("https://llm.onerouter.pro/v1/rerank", PLAIN),
    "litellm": ("/v1/rerank", SILENT),
    "llamacpp": ("/v1/rerank", PLAIN),
    "mixedbread": ("https://api.mixedbread.com/v1/reranking", MIXEDBREAD),
    "nanogpt": ("https://api.nano-gpt.com/api/v1/rerank", SILENT),
    "nim": ("/v1/ranking", NIM),
    "novita": ("https://api.novita.ai/openai/v1/rerank", PLAIN),
    "nvidia": (NVIDIA, NIM),
    "openrouter": ("https://openrouter.ai/api/v1/rerank", PLAIN),
    "openvino": ("/v3/rerank", SILENT),
    "sglang": ("/v1/rerank", SILENT),
    "siliconflow": ("https://api.siliconflow.com/v1/rerank", SILENT),
    "tei": ("/rerank", TEI),
    "together": ("https://api.together.ai/v1/rerank", SILENT),
    "xinference": ("/v1/rerank", SILENT),
}
"""Where a request goes, and what is sent of one without optional fields."""

SENT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "an instruction": ("contextual", {"instruction": "manuals"}, {"instruction": "manuals"}),
    "nothing that runs beside the documents": ("contextual", {"extra": {"metadata": ["a", "b", ""]}}, {}),
    "a limit under its usual name": ("together", {"top_n": 2}, {"top_n": 2}),
    "a limit under another name": ("mixedbread", {"top_n": 2}, {"top_k": 2}),
    "a limit beyond the list": ("mixedbread", {"top_n": 9}, {"top_k": 3}),
    "no limit where there is none": ("tei", {"top_n": 2}, {}),
    "no limit where it is refused": ("nim", {"top_n": 2}, {}),
    "an instruction under its usual name": ("siliconflow", {"instruction": "i"}, {"instruction": "i"}),
    "an instruction under another name": ("sglang", {"instruction": "i"}, {"instruct": "i"}),
    "no instruction by the other name": ("sglang", {"extra": {"instruct": "i"}}, {}),
    "a cut and a priority": (
        "azure",
        {"max_tokens_per_doc": 9, "priority": 0},
        {"max_tokens_per_doc": 9, "priority": 0},
    ),
    "no cut where there is none": ("cohere-v1", {"max_tokens_per_doc": 9}, {}),
    "spans of a model that tells them": (
        "azure",
        {"model": "Cohere-rerank-v5.0-pro", "return_spans": True},
        {"model": "Cohere-rerank-v5.0-pro", "relevant_spans": {"mode": "enabled"}},
    ),
    "no spans of one that does not": ("azure", {"return_spans": True}, {}),
    "a caller's own wish to be told": ("tei", {"extra": {"truncate": False}}, {"truncate": False}),
    "a caller's own cut": ("nim", {"extra": {"truncate": "NONE"}}, {"truncate": "NONE"}),
    "no canonical field out of the extras": ("together", {"extra": {"top_n": 1}}, {}),
    "no wish for documents": ("openvino", {"return_documents": True}, {}),
}

BY_COUNT = Usage(prompt_tokens=19, total_tokens=19)
READ: dict[str, Ranking] = {
    "contextual/success": Ranking(results=[Ranked(1, 0.87654321), Ranked(0, 0.25)]),
    "contextual/odd_score": Ranking(results=[Ranked(1, 0.87654321), Ranked(0, 0.25)]),
    "azure/success": Ranking(
        results=[Ranked(0, 0.9473211), Ranked(2, 0.1841175)], usage=Usage(search_units=1.0), id="0a1c"
    ),
    "cohere-v1/success": Ranking(results=[Ranked(0, 0.93), Ranked(2, 0.18)], usage=Usage(search_units=1.0), id="b0d6"),
    "cohere-v1/odd_documents": Ranking(
        results=[Ranked(0, 0.93), Ranked(2, 0.18)], usage=Usage(search_units=1.0), id="b0d7"
    ),
    "compatible/success": Ranking(results=[Ranked(2, 0.75), Ranked(0, 0.25)], usage=BY_COUNT),
    "compatible/odd_data": Ranking(results=[Ranked(1, 0.5)]),
    "fireworks/success": Ranking(
        results=[Ranked(0, 0.95), Ranked(1, 0.05)],
        usage=Usage(prompt_tokens=50, completion_tokens=0, total_tokens=50),
    ),
    "fireworks/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "fireworks/odd_results": Ranking(results=[Ranked(1, 0.5)]),
    "infinity/success": Ranking(
        results=[Ranked(2, 0.993), Ranked(0, 0.25)],
        usage=Usage(prompt_tokens=38, total_tokens=38),
        id="infinity-2b0e",
    ),
    "infinity/odd_documents": Ranking(results=[Ranked(0, 0.5)], usage=Usage(prompt_tokens=8, total_tokens=8)),
    "infron/success": Ranking(results=[Ranked(3, 0.9990564), Ranked(4, 0.7516481)], id="26c8"),
    "litellm/success": Ranking(
        results=[Ranked(0, 0.9), Ranked(2, 0.1)],
        usage=Usage(prompt_tokens=33, completion_tokens=0, total_tokens=33, search_units=1.0),
        id="r-1",
    ),
    "litellm/odd_nulls": Ranking(results=[Ranked(1, 0.5)]),
    "llamacpp/success": Ranking(results=[Ranked(2, 7.91), Ranked(0, -3.5)], usage=BY_COUNT),
    "llamacpp/odd_list": Ranking(results=[Ranked(2, 7.91)]),
    "mixedbread/success": Ranking(
        results=[Ranked(0, 0.95), Ranked(1, 0.25)], usage=Usage(prompt_tokens=40, total_tokens=40)
    ),
    "mixedbread/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "nanogpt/success": Ranking(
        results=[Ranked(0, -1.8285)], usage=Usage(prompt_tokens=38, total_tokens=38), id="rerank-393a"
    ),
    "nim/success": Ranking(results=[Ranked(0, -1.2421875), Ranked(2, -3.03)]),
    "nim/odd_usage": Ranking(results=[Ranked(0, 2.5)], usage=Usage(total_tokens=20)),
    "nim/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "nvidia/success": Ranking(results=[Ranked(1, 0.25), Ranked(0, -3.03)]),
    "nvidia/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "novita/success": Ranking(
        results=[Ranked(1, 0.75), Ranked(0, 0.25)],
        usage=Usage(prompt_tokens=30, completion_tokens=0, total_tokens=30),
        id="n-1",
    ),
    "openrouter/success": Ranking(
        results=[Ranked(0, 0.98)], usage=Usage(total_tokens=150, search_units=1.0), id="gen-rerank-1763600000-abc"
    ),
    "openvino/success": Ranking(results=[Ranked(0, 0.3886180520057678), Ranked(1, 0.0055549247190356255)]),
    "sglang/success": Ranking(results=[Ranked(1, 0.9), Ranked(0, -0.25)]),
    "sglang/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "sglang/odd_results": Ranking(results=[Ranked(1, 0.5)]),
    "siliconflow/success": Ranking(
        results=[Ranked(1, 0.85), Ranked(0, 0.25)],
        usage=Usage(prompt_tokens=150, completion_tokens=0, total_tokens=150, search_units=0.0, billed_tokens=150),
        id="0195",
    ),
    "siliconflow/odd_older_tokens": Ranking(
        results=[Ranked(1, 0.85)], usage=Usage(prompt_tokens=150, completion_tokens=0, total_tokens=150), id="0196"
    ),
    "azure/odd_billed_tokens": Ranking(
        results=[Ranked(0, 0.9)],
        usage=Usage(prompt_tokens=57, completion_tokens=0, total_tokens=57, billed_tokens=60),
        id="0a1d",
    ),
    "cohere-v1/odd_billed_tokens": Ranking(
        results=[Ranked(0, 0.9)],
        usage=Usage(prompt_tokens=57, completion_tokens=0, total_tokens=57, billed_tokens=60),
        id="b0d8",
    ),
    "litellm/odd_billed_in_total": Ranking(
        results=[Ranked(0, 0.9)],
        usage=Usage(prompt_tokens=57, completion_tokens=0, total_tokens=57, billed_tokens=60, search_units=1.0),
        id="r-2",
    ),
    "siliconflow/odd_billed_more": Ranking(
        results=[Ranked(0, 0.9)],
        usage=Usage(prompt_tokens=150, completion_tokens=0, total_tokens=150, search_units=0.0, billed_tokens=160),
        id="0197",
    ),
    "compatible/odd_usage_and_billed": Ranking(
        results=[Ranked(0, 0.9)], usage=Usage(prompt_tokens=57, total_tokens=57, billed_tokens=60, search_units=1.0)
    ),
    "tei/success": Ranking(results=[Ranked(2, 0.99234), Ranked(0, 0.00181)]),
    "tei/minimal": Ranking(results=[Ranked(0, 0.5)]),
    "together/success": Ranking(
        results=[Ranked(0, 0.31), Ranked(1, 0.25)],
        usage=Usage(prompt_tokens=120, completion_tokens=0, total_tokens=120),
        id="9c1",
    ),
    "xinference/success": Ranking(results=[Ranked(0, 0.99), Ranked(1, 0.25)], id="u-1"),
    "xinference/odd_counted": Ranking(
        results=[Ranked(0, 0.99)], usage=Usage(prompt_tokens=12, completion_tokens=12, total_tokens=24), id="u-2"
    ),
}
SAID = {
    "azure/error_400_gateway": "the deployment does not rerank",
    "cohere-v1/error_400_no_documents": "invalid request: list of documents must not be empty",
    "contextual/error_401": "Invalid API key",
    "contextual/error_422": "body.metadata: metadata must have the length of documents",
    "infinity/error_400_model": "Invalid model: x",
    "infinity/error_401": "Unauthorized",
    "infinity/error_422": "body.top_n: Input should be greater than 0",
    "infinity/error_429": "model x is currently overloaded",
    "litellm/error_429": "the key is over its budget",
    "llamacpp/error_400": '"documents" must be a non-empty string array',
    "llamacpp/error_500_batch": "input (2793 tokens) is too large to process (current batch size: 2048)",
    "mixedbread/error_422": "body.query: String should have at least 1 character",
    "openrouter/error_429": "the rate limit was exceeded",
    "openrouter/error_529": "the provider is overloaded",
    "tei/error_422_batch": "batch size 40 > maximum allowed batch size 32",
    "tei/error_424": "model is not a re-ranker model",
    "tei/error_429": "Model is overloaded",
    "together/error_403_length": "the input is longer than the context",
    "xinference/error_400": "Model not found, uid: x",
}


def plain(asked: Asked, **fields: Any) -> RerankRequest:
    return asked(**{"model": NAMED["model"], **fields})


def of(body: str) -> HttpProvider:
    """The variant that a recorded body is of."""
    return VARIANTS[body.partition("/")[0]]


@pytest.mark.parametrize("name", VARIANTS)
def test_sends_there_what_is_documented(name: str, asked: Asked) -> None:
    provider = VARIANTS[name]
    path = provider.path if isinstance(provider.path, str) else provider.path(NAMED["model"])
    assert ((provider.base_url or "") + path, provider.encode(plain(asked))) == WHERE[name]


@pytest.mark.parametrize(("name", "fields", "changes"), SENT.values(), ids=SENT)
def test_sends(name: str, fields: dict[str, Any], changes: dict[str, Any], asked: Asked) -> None:
    assert VARIANTS[name].encode(plain(asked, **fields)) == {**WHERE[name][1], **changes}


@pytest.mark.parametrize(("body", "ranking"), READ.items(), ids=READ)
def test_reads(body: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    assert of(body).decode(wire(body), asked()) == ranking


@pytest.mark.parametrize(("body", "sentence"), SAID.items(), ids=SAID)
def test_says_why(body: str, sentence: str, wire: Wire) -> None:
    assert of(body).error_message(wire(body)) == sentence


def test_every_recorded_body_is_a_case() -> None:
    recorded = {f"{name}/{body.stem}" for name in VARIANTS for body in (WIRE / name).iterdir()}
    assert recorded == READ.keys() | SAID.keys()


@pytest.mark.parametrize("body", [b'[{"index": 0, "score": NaN}]', b"[]", b'[{"index": 0}]', b'{"error": "no"}'])
@pytest.mark.parametrize("name", ["tei", "sglang"])
def test_a_list_without_scores_is_refused(name: str, body: bytes, asked: Asked) -> None:
    with pytest.raises(Exception, match=r"says: no|NaN|malformed|Invalid|Expected|missing|shape|invalid") as failure:
        VARIANTS[name].decode(body, asked())
    assert type(failure.value).__name__ in ("BadAnswer", "ValidationError", "DecodeError")


@pytest.mark.parametrize(
    ("name", "auth", "required"),
    [("azure", Header("api-key"), True), ("together", Bearer(), True), ("tei", Bearer(), False)],
)
def test_keys(name: str, auth: Bearer | Header | NoAuth, required: bool) -> None:
    assert (VARIANTS[name].auth, VARIANTS[name].key_required) == (auth, required)


@pytest.mark.parametrize("path", ["/rerank", "/api/v2/rank", "/ai/tools.rank/1"])
def test_compatible_is_where_its_options_say(path: str) -> None:
    provider = VARIANTS["compatible"]
    assert provider.options is not None
    assert provider.options.apply(PathOptions(path)) == replace(provider, path=path)


@pytest.mark.parametrize("path", ["", "rerank", "/", "//host/rerank", "/a/../b", "/a?b=c", "/a b", "/rerank/"])
def test_a_path_that_is_none_is_told(path: str) -> None:
    options = VARIANTS["compatible"].options
    assert options is not None
    with pytest.raises(ValueError, match="path must be the path of a URL, such as /api/rerank"):
        options.apply(PathOptions(path))


KNOWN: dict[str, tuple[str, str, str, int | None, int | None]] = {
    "tei": ("any", "pointwise", "probability", 32, None),
    "infinity": ("any", "pointwise", "probability", 2_048, None),
    "nim": ("nvidia/llama-nemotron-rerank-1b-v2", "unknown", "logit", 512, None),
    "nanogpt": ("nvidia/Nemotron-3.5-Rerank-8B-BF16", "unknown", "logit", 1_024, None),
    "azure": ("Cohere-rerank-v4.0-pro", "pointwise", "probability", 10_000, 32_768),
    "cohere-v1": ("rerank-v3.5", "pointwise", "probability", 10_000, 4_096),
    "novita": ("baai/bge-reranker-v2-m3", "pointwise", "unknown", None, 8_000),
    "compatible": ("any", "unknown", "unknown", None, None),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_a_model(name: str) -> None:
    model, scoring, space, documents, pair = KNOWN[name]
    known = resolve(model, VARIANTS[name].capabilities)
    assert (known.scoring, known.score_space) == (scoring, space)
    assert (known.limits.documents, known.limits.tokens_per_pair) == (documents, pair)
