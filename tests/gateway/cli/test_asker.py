"""In this process or over HTTP: whoever is asked, the reply is the same, and so are the limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.access.keys import new_key
from gateway.api.dialects.unified.request import Body
from gateway.cli.asker import Asker, InProcess, OverHttp, open_asker
from gateway.config.loader import from_tree
from gateway.routing.facts import ModelFacts
from gateway.runtime.service import Service
from gateway.server import app as application
from providers.errors import InvalidRequest, RerankError, TargetFailed, Unreachable

TREE: dict[str, Any] = {
    "providers": {
        "own": {"adapter": "passthrough"},
        "gone": {"adapter": "vllm", "base_url": "http://127.0.0.1:9/v1", "retry": {"retries": 0}},
    },
    "models": {"best": {"target": "gone/m", "fallbacks": ["own/order"]}},
    "auth": "none",
    "request_limits": {"documents": 5, "document_bytes": 100},
    "rate_limits": {"documents": "20/hour"},
}


@asynccontextmanager
async def opened(kind: str, tree: dict[str, Any] = TREE) -> AsyncIterator[Asker]:
    """A context in each test's own task, as the lifespan of an application wants it."""
    config = from_tree(tree)
    if kind == "in process":
        service = Service(config)
        await service.open()
        yield InProcess(service)
        await service.aclose()
        return
    app = application.create(config)
    transport = httpx.ASGITransport(app=app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield OverHttp(client, "http://gateway")


either = pytest.mark.parametrize("kind", ["in process", "over HTTP"])


def body(**fields: Any) -> Body:
    return Body(**{"model": "own/order", "query": "q", "documents": ["a", "b"], **fields})


REPLIES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "positions": ({}, [{"index": 0}, {"index": 1}]),
    "cut": ({"top_n": 1}, [{"index": 0}]),
    "with documents": (
        {"return_documents": True, "documents": ["a", {"text": "b", "id": 7, "meta": {"x": [1]}}]},
        [
            {"index": 0, "document": {"text": "a"}},
            {"index": 1, "document": {"text": "b", "id": 7, "meta": {"x": [1]}}},
        ],
    ),
    "content parts": (
        {"return_documents": True, "documents": [{"content": [{"type": "text", "text": "a"}]}]},
        [{"index": 0, "document": {"content": [{"type": "text", "text": "a"}]}}],
    ),
    "by a configured fallback": ({"model": "best"}, [{"index": 0}, {"index": 1}]),
    "by the caller's fallback": ({"model": "gone/m", "fallbacks": ["own/order"]}, [{"index": 0}, {"index": 1}]),
}


@either
@pytest.mark.parametrize(("fields", "results"), REPLIES.values(), ids=REPLIES)
async def test_the_reply_is_the_whole_answer(fields: dict[str, Any], results: list[Any], kind: str) -> None:
    async with opened(kind) as asker:
        reply = await asker.ask(body(**fields))
    assert json.loads(json.dumps(reply)) == reply
    assert [{name: value for name, value in row.items() if name != "relevance_score"} for row in reply["results"]] == (
        results
    )
    extra = reply["extra_fields"]
    assert (extra["provider"], extra["degraded"]) == ("own", True)
    assert len(extra.get("attempts", [])) == (2 if fields.get("model") in ("best", "gone/m") else 0)
    assert set(reply) == {"id", "results", "model", "extra_fields"}


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown model": ({"model": "nope"}, 'unknown model "nope"'),
    "blank query": ({"query": " "}, "query is required for rerank"),
    "many documents": ({"documents": ["a"] * 6}, "6 documents are more than the limit of 5 (request_limits.documents)"),
    "a large document": ({"documents": ["é" * 51]}, "the document at index 0 has more than 100 bytes"),
    "a long name": ({"model": "own/" + "m" * 300}, "a model's name has at most 256 characters"),
}


@either
@pytest.mark.parametrize(("fields", "message"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_is_refused_in_the_same_words(fields: dict[str, Any], message: str, kind: str) -> None:
    async with opened(kind) as asker:
        with pytest.raises(RerankError) as refused:
            await asker.ask(body(**fields))
    assert refused.value.message.startswith(message)


@either
async def test_several_at_once_keep_the_gateways_rate(kind: str) -> None:
    async with opened(kind) as asker:
        asked = [asker.ask(body(documents=["a"] * 5)) for _ in range(5)]
        replies = await asyncio.gather(*asked, return_exceptions=True)
    refused = [reply for reply in replies if isinstance(reply, RerankError)]
    assert len(replies) - len(refused) == 4
    assert refused[0].message.startswith("the gateway is limited to 20 documents per hour")


async def test_whoever_asks_in_process_adds_to_nobodys_usage() -> None:
    entry = {"name": "team", "hash": new_key()[1], "models": ["other/*"]}
    service = Service(from_tree({**TREE, "auth": {"keys": [entry]}}))
    await service.open()
    assert (await InProcess(service).ask(body()))["results"]
    assert (await service.accounts.ledger.read([service.accounts.ledger._today()], None)).rows == []
    await service.aclose()


NAMED: dict[str, tuple[dict[str, Any], str | None, str, ModelFacts]] = {
    "the only one": ({"models": {"best": {"target": "own/order"}}}, None, "best", ModelFacts("pointwise")),
    "the default one": (
        {"models": {"best": {"target": "own/order"}, "fast": {"target": "own/order"}}, "default_model": "fast"},
        None,
        "fast",
        ModelFacts("pointwise"),
    ),
    "by name": ({}, "best", "best", ModelFacts("unknown")),
    "by path": ({"models": {"best": {"target": "own/order"}}}, "best", "best", ModelFacts("pointwise")),
}


@either
@pytest.mark.parametrize(("changes", "name", "found", "facts"), NAMED.values(), ids=NAMED)
async def test_what_is_known_of_a_model(
    changes: dict[str, Any], name: str | None, found: str, facts: ModelFacts, kind: str
) -> None:
    async with opened(kind, {**TREE, **changes}) as asker:
        assert await asker.find_model(name) == (found, facts)


NAMELESS: dict[str, tuple[dict[str, Any], str]] = {
    "several": (
        {"models": {"a": {"target": "own/x"}, "b": {"target": "own/x"}}},
        "name one of the models with --model: a, b",
    ),
    "more than can be shown": (
        {"models": {f"m{number:02}": {"target": "own/x"} for number in range(21)}},
        f"name one of the models with --model: {', '.join(f'm{number:02}' for number in range(20))}, …",
    ),
    "none": ({"models": {}}, "no model is known by name; name one with --model, as provider/model"),
}


@either
@pytest.mark.parametrize(("changes", "message"), NAMELESS.values(), ids=NAMELESS)
async def test_a_name_is_needed_where_there_is_not_one_model(changes: dict[str, Any], message: str, kind: str) -> None:
    async with opened(kind, {**TREE, **changes}) as asker:
        with pytest.raises(InvalidRequest) as refused:
            await asker.find_model(None)
    assert refused.value.message == message


URLS = {
    "a base": ("http://x", "http://x/v1/models"),
    "a base with a slash": ("http://x/", "http://x/v1/models"),
    "a prefix": ("http://x/rerank-gateway", "http://x/rerank-gateway/v1/models"),
    "a version": ("http://x/a/v1", "http://x/a/v1/models"),
    "an endpoint": ("http://x/a/v1/rerank", "http://x/a/v1/models"),
    "an endpoint of another version": ("http://x/v2/rerank", "http://x/v1/models"),
    "an endpoint without a version": ("http://x/a/rerank", "http://x/a/v1/models"),
    "a query": ("http://x/v1/rerank?team=1", "http://x/v1/models"),
}


@pytest.mark.parametrize(("url", "models"), URLS.values(), ids=URLS)
async def test_models_are_listed_beside_the_endpoint(url: str, models: str) -> None:
    asked = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"data": [{"id": "of an older gateway"}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(reply)) as client:
        assert await OverHttp(client, url).find_model(None) == ("of an older gateway", ModelFacts())
    assert asked == [models]


STRANGERS: dict[str, tuple[int, bytes]] = {
    "text": (200, b"hello"),
    "a list": (200, b"[]"),
    "an object": (200, b"{}"),
    "results that are none": (200, b'{"id": "i", "model": "m", "results": 5, "extra_fields": {}}'),
    "results of another form": (200, b'{"id": "i", "model": "m", "results": [{"score": 1}], "extra_fields": {}}'),
    "no fields of ours": (200, b'{"id": "i", "model": "m", "results": []}'),
    "deep": (200, b"[" * 100_000),
    "not UTF-8": (200, b"\xff"),
    "a refusal in text": (404, b"nope"),
    "a refusal without a message": (500, b'{"message": {}}'),
    "a redirect": (302, b""),
}


@pytest.mark.parametrize(("status", "content"), STRANGERS.values(), ids=STRANGERS)
async def test_a_server_of_another_kind_is_said_to_be_one(status: int, content: bytes) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=content))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(TargetFailed) as told:
            await OverHttp(client, "http://x").ask(body())
        with pytest.raises(TargetFailed):
            await OverHttp(client, "http://x").find_model("m")
    assert told.value.message == f"http://x does not answer like a rerank-gateway (HTTP {status})"


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    async with open_asker("http://127.0.0.1:9", None) as asker:
        with pytest.raises(Unreachable, match=r"cannot reach http://127\.0\.0\.1:9: "):
            await asker.ask(body())
