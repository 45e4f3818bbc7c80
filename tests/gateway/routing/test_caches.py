"""The cache in a whole gateway: switched on, shared by processes, over reloads, in metrics, and without any text."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.cache.entries import Entry
from gateway.cache.valkey import ValkeyEntries
from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import build
from gateway.runtime.service import Service
from providers.testing import ScriptedUpstream
from providers.types import Call, RerankRequest
from tests.gateway.access import servers

SECRET = "a secret of some length"
BODY = {"query": "red apples", "documents": ["red apples", "green pears", "red wine"]}


def tree(upstream: ScriptedUpstream, **more: Any) -> dict[str, Any]:
    def provider(scoring: str) -> dict[str, Any]:
        known = {"*": {"scoring": scoring}}
        return {"adapter": "vllm", "base_url": upstream.url, "capabilities": known, "proxy": "none"}

    return {
        "providers": {"point": provider("pointwise"), "list": provider("listwise"), "passthrough": {}},
        "models": {"best": {"target": "point/m"}, "fused": {"fuse": ["point/m", "list/n"]}},
        "prices": {"point/*": {"per_search": 0.003, "documents_per_search": 100}},
        **more,
    }


async def ask(client: Any, model: str = "best", *documents: str, **fields: Any) -> dict[str, Any]:
    body = {**BODY, "model": model, **({"documents": list(documents)} if documents else {}), **fields}
    answer = await client.post("/v1/rerank", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_off_by_default(opened, upstream) -> None:
    gateway = await opened(tree(upstream))
    for _ in range(2):
        assert "cache" not in (await ask(gateway))["extra_fields"]
    assert len(upstream.requests) == 2


async def test_what_is_known_is_not_sent(opened, upstream) -> None:
    gateway = await opened(tree(upstream, cache={}))
    first = await ask(gateway)
    again = await ask(gateway)
    assert again["results"] == first["results"]
    assert again["model"] == "best"
    assert again["extra_fields"]["cache"] == {"documents": 3, "tokens": 0, "usd": pytest.approx(0.003)}
    assert again["extra_fields"]["cost"] == 0.0
    assert again["extra_fields"]["provider"] == "point"
    await ask(gateway, "point/m", "red apples", "new")  # by whatever name, and only what is new
    assert [request.body["documents"] for request in upstream.requests] == [BODY["documents"], ["new"]]
    await ask(gateway, "list/n")
    await ask(gateway, "list/n", "red apples", "green pears")
    await ask(gateway, "list/n")
    assert len(upstream.requests) == 4
    metrics = (await gateway.get("/metrics")).text
    for provider, model, outcome, count in (
        ("point", "m", "hit", 4),
        ("point", "m", "miss", 4),
        ("list", "n", "hit", 3),
    ):
        labels = f'model="{model}",outcome="{outcome}",provider="{provider}"'
        assert f"rerank_gateway_cache_documents_total{{{labels}}} {count}" in metrics
    assert 'rerank_gateway_cache_cost_saved_usd_total{model="m",provider="point"} 0.004' in metrics


async def test_members_of_a_fused_model_are_kept(opened, upstream) -> None:
    gateway = await opened(tree(upstream, cache={}))
    first = await ask(gateway, "fused")
    again = await ask(gateway, "fused")
    assert again["results"] == first["results"]
    assert len(upstream.requests) == 2
    assert again["extra_fields"]["cache"]["documents"] == 6


async def test_callers_do_not_share(opened, upstream) -> None:
    from gateway.access.keys import new_key

    keys = {name: new_key() for name in ("a", "b")}
    auth = {"keys": [{"name": name, "hash": digest} for name, (_, digest) in keys.items()]}
    gateway = await opened(tree(upstream, cache={}, auth=auth))
    for name in ("a", "b", "a"):
        gateway.headers["authorization"] = f"Bearer {keys[name][0]}"
        await ask(gateway)
    assert len(upstream.requests) == 2


async def test_a_reload_keeps_it_where_nothing_has_changed(upstream) -> None:
    settings = tree(upstream, cache={})
    first = build(from_tree(settings))
    assert build(from_tree(settings), first).targets.cache is first.targets.cache
    other = build(from_tree({**settings, "cache": {"ttl": 5}}), first)
    assert other.targets.cache is not first.targets.cache
    assert build(from_tree(tree(upstream)), first).targets.cache is None
    await first.aclose(other)
    await other.aclose()


CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 1),
    "a header": ({"headers": {"x-deployment": "green"}}, 2),
    "one more header": ({"headers": {"x-deployment": "blue", "x-tenant": "a"}}, 2),
    "the key": ({"api_key": "another"}, 2),
    "a time limit": ({"timeout": 61}, 2),
}


@pytest.mark.parametrize(("changed", "asked"), CHANGES.values(), ids=CHANGES)
async def test_what_may_be_answered_by_somebody_else_is_asked_again(changed, asked, upstream) -> None:
    def with_settings(**own: Any) -> Config:
        base = tree(upstream, cache={})
        base["providers"]["point"] |= {"headers": {"x-deployment": "blue"}, "api_key": "one", **own}
        return from_tree(base)

    service = Service(with_settings())
    await service.open()
    request = RerankRequest(model="point/m", call=Call(id="1"), **BODY)
    first = await service.rerank(request, ["point/m"])
    before, config = service.routes, with_settings(**changed)
    service.replace(config, build(config, before, TargetPricing(config, None)))
    again = await service.rerank(request, ["point/m"])
    await before.aclose(service.routes)
    await service.aclose()
    assert again.results == first.results
    assert len(upstream.requests) == asked


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shared without a secret": (
        {"cache": {"shared": True}, "store": {"url": "redis://localhost"}},
        "cache: needs a secret where it is shared, such as secret: ${CACHE_SECRET}",
    ),
    "shared without a store": (
        {"cache": {"shared": True, "secret": SECRET}},
        "cache.shared: needs a server: set store",
    ),
    "a short secret": ({"cache": {"secret": "short"}}, "cache.secret: "),
}


@pytest.mark.parametrize(("sections", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(sections, problem) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": {"passthrough": {}}, **sections})
    assert [str(each) for each in caught.value.problems if str(each).startswith(problem)], caught.value.problems


async def test_a_server_that_is_too_slow_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ValkeyEntries("redis://127.0.0.1:1", 60.0, 60.0)
    asked = asyncio.Event()

    async def ask(call: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(store._client, "ask", ask)
    assert await store.find(b"q", [b"k"], seconds=0.01) == {}
    assert asked.is_set()
    await store.aclose()


async def test_a_long_list_is_read_and_written_in_pieces_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ValkeyEntries("redis://127.0.0.1:1", 60.0, 60.0)
    sizes: list[int] = []
    under_way = 0

    async def ask(call: Any) -> Any:
        nonlocal under_way
        assert under_way == 0
        under_way += 1
        sizes.append(len(call.args[0]))
        await asyncio.sleep(0)
        under_way -= 1
        return [None] * sizes[-1]

    monkeypatch.setattr(store._client, "ask", ask)
    keys = [n.to_bytes(2, "big") for n in range(600)]
    assert await store.find(b"q", keys) == {}
    store.keep(b"q", {key: Entry(0.5, "logit") for key in keys})
    await store.aclose()
    assert sizes == [250, 250, 100, 250, 250, 100]


@pytest.mark.skipif(servers.binary() is None, reason="no Valkey or Redis server on this machine")
async def test_processes_share_it_and_go_on_without_it(opened, upstream, tmp_path: Path, caplog) -> None:
    with servers.server(tmp_path) as (url, process):
        store = {"url": url, "when_down": "fail_open"}
        settings = tree(upstream, cache={"shared": True, "secret": SECRET}, store=store)
        one = await opened(settings)
        first = await ask(one)
        two = await opened(settings)
        again = await ask(two)
        assert again["results"] == first["results"]
        assert len(upstream.requests) == 1
        import redis

        client = redis.Redis.from_url(url)
        held = b"".join(key + (client.get(key) or b"") for key in client.keys("*score*"))
        assert held
        assert client.ttl(client.keys("*score*")[0]) > 3000
        for text in (*BODY["documents"], BODY["query"]):
            assert text.encode() not in held
        client.set(client.keys("*score*")[0], b"rubbish")  # of another version
        client.close()
        assert (await ask(two))["results"] == first["results"]
        assert len(upstream.requests[1].body["documents"]) == 1
        process.kill()
        process.wait()
        with caplog.at_level(logging.WARNING):
            assert (await ask(two))["results"] == first["results"]
        assert len(upstream.requests) == 3
        assert "the store of cached scores cannot be reached" in caplog.text
        shown = (await two.get("/metrics")).text
        assert float(shown.rsplit("rerank_gateway_cache_failures_total ", 1)[1].split()[0]) >= 1
