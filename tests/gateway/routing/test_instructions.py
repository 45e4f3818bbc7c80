"""One field `instruction` for every model: sent as the vendor has it, or the answer says that it was not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from providers.testing import ScriptedUpstream
from tests.conftest import Open

ROWS = [{"index": 0, "relevance_score": 0.5, "score": 0.5}]
INSTRUCTION = "prefer official manuals"


def sent(body: Any) -> tuple[str | None, str]:
    """The instruction in its own field, wherever that is, and the query."""
    own = {**body.get("parameters", {}), **body.get("state", {}), **body}
    found = next((own[name] for name in ("instruction", "instruct") if name in own), None)
    query = body.get("query") or body.get("queries") or body.get("input", {}).get("query")
    return found, query[0] if isinstance(query, list) else query


FIELD, IN_QUERY, NOWHERE = (INSTRUCTION, "q"), (None, f"{INSTRUCTION}\nq"), (None, "q")
TAKES: dict[str, tuple[str, str, tuple[str | None, str], bool]] = {
    "Voyage's newer models look for it in the query": ("voyage", "rerank-2.5", IN_QUERY, True),
    "and those yet unknown": ("voyage", "rerank-4", IN_QUERY, True),
    "its older ones would rank by it": ("voyage", "rerank-2", NOWHERE, False),
    "Voyage by OpenRouter": ("openrouter", "voyageai/rerank-2.5", IN_QUERY, True),
    "Cohere by OpenRouter": ("openrouter", "cohere/rerank-v3.5", NOWHERE, False),
    "vLLM, a causal reranker": ("vllm", "Qwen/Qwen3-Reranker-8B", FIELD, True),
    "vLLM, an encoder": ("vllm", "BAAI/bge-reranker-v2-m3", NOWHERE, False),
    "vLLM, any other": ("vllm", "m", FIELD, True),
    "SiliconFlow, a causal reranker": ("siliconflow", "Qwen/Qwen3-Reranker-8B", FIELD, True),
    "SiliconFlow, an encoder": ("siliconflow", "BAAI/bge-reranker-v2-m3", NOWHERE, False),
    "SGLang by another name": ("sglang", "m", FIELD, True),
    "DashScope by another name": ("dashscope", "qwen3-rerank", FIELD, True),
    "DashScope's native API": ("dashscope", "qwen3-vl-rerank", FIELD, True),
    "Contextual": ("contextual", "m", FIELD, True),
    "LiteLLM": ("litellm", "m", FIELD, True),
    "another gateway": ("gateway", "m", FIELD, True),
    "whatever speaks alike": ("compatible", "m", FIELD, True),
    "Cohere takes none": ("cohere", "rerank-v4.0-pro", NOWHERE, False),
    "Jina takes none": ("jina", "jina-reranker-v3", NOWHERE, False),
    "text-embeddings-inference takes none": ("tei", "m", NOWHERE, False),
}


@pytest.fixture
def answering(upstream: ScriptedUpstream) -> Callable[..., dict[str, Any]]:
    upstream.reply_with(200, {"results": ROWS, "output": {"results": ROWS}, "data": ROWS})

    def tree(adapter: str, model: str = "m", capabilities: Any = None, **named: Any) -> dict[str, Any]:
        up = {"adapter": adapter, "base_url": upstream.url, "api_key": "k", "proxy": "none"}
        if capabilities:
            up["capabilities"] = capabilities
        return {"providers": {"up": up, "passthrough": {}}, "models": {"best": {"target": f"up/{model}", **named}}}

    return tree


@pytest.mark.parametrize("case", TAKES)
async def test_it_is_sent_as_the_vendor_has_it_or_the_answer_says_so(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]], case: str
) -> None:
    adapter, model, expected, followed = TAKES[case]
    client = await opened(answering(adapter, model))
    body = {"model": "best", "query": "q", "documents": ["a"], "instruction": INSTRUCTION}
    answer = await client.post("/v1/rerank", json=body)
    assert answer.status_code == 200, answer.text
    assert sent(upstream.requests[0].body) == expected
    warnings = [warning["code"] for warning in answer.json()["extra_fields"].get("warnings", [])]
    assert warnings == ([] if followed else ["instruction_ignored"])


Settings = dict[str, Any]
DEFAULTS: dict[str, tuple[Settings, Settings, str | None]] = {
    "none": ({}, {}, None),
    "the model's": ({"instruction": "of the model"}, {}, "of the model"),
    "the request's comes first": ({"instruction": "of the model"}, {"instruction": "of the request"}, "of the request"),
    "null is absent": ({"instruction": "of the model"}, {"instruction": None}, "of the model"),
    "an empty one means none": ({"instruction": "of the model"}, {"instruction": ""}, None),
    "an empty one by itself": ({}, {"instruction": ""}, None),
    "of no other name": ({"instruction": "of the model"}, {"model": "up/m"}, None),
    "an empty one in the configuration": ({"instruction": ""}, {}, None),
}


@pytest.mark.parametrize("case", DEFAULTS)
async def test_a_model_may_have_one_of_its_own(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]], case: str
) -> None:
    named, fields, expected = DEFAULTS[case]
    client = await opened(answering("vllm", **named))
    answer = await client.post("/v1/rerank", json={"model": "best", "query": "q", "documents": ["a"], **fields})
    assert answer.status_code == 200, answer.text
    assert upstream.requests[0].body.get("instruction") == expected
    assert "warnings" not in answer.json()["extra_fields"]


CORRECTED: dict[str, tuple[str, bool, tuple[str | None, str], bool]] = {
    "to yes": ("siliconflow", True, FIELD, True),
    "to no": ("voyage", False, NOWHERE, False),
    "to yes, where there is no field for it": ("cohere", True, NOWHERE, False),
}


@pytest.mark.parametrize("case", CORRECTED)
async def test_the_operator_knows_better_what_a_model_follows(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]], case: str
) -> None:
    adapter, follows, expected, followed = CORRECTED[case]
    client = await opened(answering(adapter, capabilities={"*": {"instruction": follows}}, instruction=INSTRUCTION))
    answer = await client.post("/v1/rerank", json={"model": "best", "query": "q", "documents": ["a"]})
    assert sent(upstream.requests[0].body) == expected
    assert ("warnings" not in answer.json()["extra_fields"]) is followed


async def test_content_parts_get_it_as_a_part(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]]
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://img.example/gears.png"}}
    client = await opened(answering("voyage", capabilities={"*": {"multimodal": True}}))
    body = {"model": "best", "query": {"content": [picture]}, "documents": ["a"], "instruction": INSTRUCTION}
    assert (await client.post("/v1/rerank", json=body)).status_code == 200
    assert upstream.requests[0].body["query"] == {"content": [{"type": "text", "text": INSTRUCTION}, picture]}


async def test_a_passthrough_follows_none(opened: Open, answering: Callable[..., dict[str, Any]]) -> None:
    client = await opened(answering("vllm"))
    body = {"model": "passthrough/order", "query": "q", "documents": ["a"], "instruction": INSTRUCTION}
    found = (await client.post("/v1/rerank", json=body)).json()["extra_fields"]["warnings"]
    assert [warning["code"] for warning in found] == ["instruction_ignored", "no_scores"]


@pytest.mark.parametrize("value", [7, ["a"], {"a": 1}, True], ids=["number", "list", "object", "boolean"])
async def test_what_is_no_text_is_refused(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]], value: Any
) -> None:
    client = await opened(answering("vllm"))
    answer = await client.post(
        "/v1/rerank", json={"model": "best", "query": "q", "documents": ["a"], "instruction": value}
    )
    assert answer.status_code == 400
    assert "instruction" in answer.json()["message"]
    assert upstream.requests == []


async def test_vllms_own_apis_have_the_field(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]]
) -> None:
    client = await opened(answering("vllm"))
    ranked = {"model": "best", "query": "q", "documents": ["a"], "instruction": INSTRUCTION}
    assert (await client.post("/vllm/v1/rerank", json=ranked)).status_code == 200
    scored = {"model": "best", "text_1": "q", "text_2": "a", "instruction": INSTRUCTION}
    assert (await client.post("/vllm/v1/score", json=scored)).status_code == 200
    assert [request.body["instruction"] for request in upstream.requests] == [INSTRUCTION] * 2


async def test_a_shadow_gets_what_its_own_model_follows(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]]
) -> None:
    tree = answering("vllm", instruction=INSTRUCTION, shadow={"target": "old/rerank-2"})
    tree["providers"]["old"] = {"adapter": "voyage", "base_url": upstream.url, "api_key": "k", "proxy": "none"}
    client = await opened(tree)
    body = {"model": "best", "query": "q", "documents": ["a"], "return_spans": True}
    assert (await client.post("/v1/rerank", json=body)).status_code == 200
    async with asyncio.timeout(20):
        while len(upstream.requests) < 2:  # noqa: ASYNC110  the shadow is called after the answer
            await asyncio.sleep(0.001)
    assert {request.body["model"]: sent(request.body) for request in upstream.requests} == {
        "m": FIELD,
        "rerank-2": NOWHERE,
    }
