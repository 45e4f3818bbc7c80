"""What a name resolves to, which fallbacks are tried, in which order, and what the caller hears when none serves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.config.loader import from_tree
from gateway.routing.routes import Routes, build
from gateway.routing.targets import MAX_ADHOC_ROUTES
from gateway.runtime.service import Service
from gateway.suggestions import MAX_NAME_LENGTH, near
from providers.types import Call, RerankRequest

ASKED: dict[str, Any] = {"query": "q", "documents": ["a", "b"]}


def request(model: str = "m") -> RerankRequest:
    return RerankRequest(model=model, query="q", documents=["a", "b"], call=Call(id="i"))


ROUTES: dict[str, Any] = {
    "providers": {
        "one": {"adapter": "cohere", "base_url": "http://127.0.0.1:9"},
        "two": {"adapter": "vllm", "base_url": "http://127.0.0.1:9"},
    },
    "models": {
        "fast": {"target": "one/small"},
        "BAAI/bge": {"target": "two/bge", "fallbacks": ["fast", "one/big"]},
        "one/pinned": {"target": "two/pinned"},
    },
}


@pytest.fixture
async def routes():
    built = build(from_tree(ROUTES))
    yield built
    await built.aclose()


RESOLVED: dict[str, tuple[str, str, str, str]] = {
    "a name": ("fast", "one", "small", "fast"),
    "a name with a slash": ("BAAI/bge", "two", "bge", "BAAI/bge"),
    "a name before a provider": ("one/pinned", "two", "pinned", "one/pinned"),
    "provider/model": ("one/rerank", "one", "rerank", "rerank"),
    "a model with slashes": ("two/BAAI/bge-reranker/v2", "two", "BAAI/bge-reranker/v2", "BAAI/bge-reranker/v2"),
    "a model that begins with a slash": ("two//m", "two", "/m", "/m"),
    "letters matter": ("two/BGE", "two", "BGE", "BGE"),
}


@pytest.mark.parametrize(("name", "provider", "model", "shown"), RESOLVED.values(), ids=RESOLVED)
async def test_a_name_resolves_to_a_provider_and_its_model(opened, upstream, name, provider, model, shown) -> None:
    tree = {**ROUTES, "providers": {p: {**v, "base_url": upstream.url} for p, v in ROUTES["providers"].items()}}
    gateway = await opened(tree)
    reply = (await gateway.post("/v1/rerank", json={**ASKED, "model": name})).json()
    assert (reply["extra_fields"]["provider"], reply["model"]) == (provider, shown)
    assert upstream.requests[-1].body["model"] == model


LISTED = "; GET /v1/models lists the names"
UNRESOLVED: dict[str, tuple[str, str]] = {
    "a near name": ("fats", 'unknown model "fats"; did you mean "fast"?'),
    "a near provider": ("onne/rerank", 'unknown model "onne/rerank"; did you mean "one/rerank"?'),
    "nothing like it": ("zzzzzz", f'unknown model "zzzzzz"{LISTED}'),
    "no such provider": ("cohere/x", f'unknown model "cohere/x": no provider "cohere" is configured{LISTED}'),
    "no model": ("one/", 'unknown model "one/"'),
    "no provider": ("/rerank", f'unknown model "/rerank": it must have the form provider/model{LISTED}'),
    "a provider alone": ("one", f'unknown model "one": it is a provider; write one/ and one of its models{LISTED}'),
    "other letters": ("FAST", f'unknown model "FAST"{LISTED}'),
    "blanks": (" fast", 'unknown model " fast"; did you mean "fast"?'),
    "as long as names are": ("x" * MAX_NAME_LENGTH, f'unknown model "{"x" * MAX_NAME_LENGTH}"{LISTED}'),
}


@pytest.mark.parametrize(("name", "message"), UNRESOLVED.values(), ids=UNRESOLVED)
async def test_an_unknown_name_says_so_with_near_matches(opened, name, message) -> None:
    reply = await (await opened(ROUTES)).post("/v1/rerank", json={**ASKED, "model": name})
    actual = reply.json()["message"].partition("; did you mean")
    expected = message.partition("; did you mean")
    assert (reply.status_code, actual[0]) == (404, expected[0])
    assert not expected[1] or expected[2].rstrip("?") in actual[2]


async def test_invented_names_do_not_fill_the_memory(routes) -> None:
    for number in range(MAX_ADHOC_ROUTES + 100):
        routes.resolve(f"one/{number}")
        routes.resolve(f"nobody/{number}")
    routes.resolve("one/" + "x" * 1_000_000)
    assert len(routes.targets._adhoc_routes) == MAX_ADHOC_ROUTES
    assert max(map(len, routes.targets._adhoc_routes)) <= MAX_NAME_LENGTH


def test_a_name_of_absurd_length_is_compared_with_nothing() -> None:
    assert near("x" * 1_000_000, ["x" * 1_000_000]) == []


async def test_the_listing_names_what_is_configured(routes) -> None:
    assert routes.names() == ["fast", "BAAI/bge", "one/pinned"]
    assert [routes.owner(name) for name in routes.names()] == ["one", "two", "two"]


async def test_a_service_closes_what_it_opened(monkeypatch) -> None:
    closed: list[Routes] = []

    async def close(self: Routes) -> None:
        closed.append(self)

    service = Service(from_tree(ROUTES))
    await service.open()
    opened = service.routes
    await opened.aclose()
    monkeypatch.setattr(Routes, "aclose", close)
    await service.aclose()
    assert closed == [opened]


class CountingClient:
    """A client that sends nothing and counts how often it is closed."""

    def __init__(self, *_: Any) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


async def test_each_client_is_closed_once_by_the_routes_that_are_the_last_to_use_it(monkeypatch) -> None:
    clients: list[CountingClient] = []
    monkeypatch.setattr(
        "gateway.routing.kinds.http.open_client", lambda _: clients.append(CountingClient()) or clients[-1]
    )
    keys = [{"name": name, "key": name} for name in "ab"]
    several = {"adapter": "cohere", "base_url": "http://127.0.0.1:9", "api_keys": keys}
    first = build(from_tree({**ROUTES, "providers": {"one": several, "two": several}}))
    second = build(from_tree({**ROUTES, "providers": {"one": several, "two": {**several, "timeout": 7}}}), first)
    assert [client.closed for client in clients] == [0, 0, 0]
    await first.aclose(second)
    assert [client.closed for client in clients] == [0, 1, 0]
    await second.aclose()
    assert [client.closed for client in clients] == [1, 1, 1]


class TestThroughTheGateway:
    @pytest.fixture
    async def gateway(self, opened, upstreams) -> httpx.AsyncClient:
        """Three vendors; the name `ours` is served by a, then by b."""
        self.vendors = {name: upstreams() for name in "abc"}
        for vendor in self.vendors.values():
            vendor.reply_with(200, {"results": [{"index": 0, "relevance_score": 1}]})
        client: httpx.AsyncClient = await opened(
            {
                "providers": {
                    name: {"adapter": "vllm", "base_url": v.url, "retry": {"retries": 0}}
                    for name, v in self.vendors.items()
                },
                "models": {"ours": {"target": "a/m", "fallbacks": ["b/m"]}, "other": {"target": "c/other"}},
            }
        )
        return client

    def asked(self) -> list[str]:
        return [name for name, vendor in self.vendors.items() for _ in vendor.requests]

    def fail(self, *names: str, status: int = 500) -> None:
        for name in names:
            self.vendors[name].reply_with(status, {"message": f"{name} failed"})

    async def test_the_models_own_fallbacks_serve_without_asking(self, gateway) -> None:
        self.fail("a")
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "ours"})
        assert reply.json()["extra_fields"]["provider"] == "b"
        assert self.asked() == ["a", "b"]

    async def test_the_requests_fallbacks_stand_instead_of_the_models(self, gateway) -> None:
        self.fail("a")
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "ours", "fallbacks": ["c/m"]})
        assert reply.json()["extra_fields"]["provider"] == "c"
        assert self.asked() == ["a", "c"]

    async def test_an_empty_list_means_no_fallback(self, gateway) -> None:
        self.fail("a")
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "ours", "fallbacks": []})
        assert reply.status_code == 502
        assert self.asked() == ["a"]

    async def test_null_means_the_models_own(self, gateway) -> None:
        self.fail("a")
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "ours", "fallbacks": None})
        assert reply.json()["extra_fields"]["provider"] == "b"

    async def test_a_fallback_may_be_a_configured_name(self, gateway) -> None:
        self.fail("a")
        reply = (await gateway.post("/v1/rerank", json={**ASKED, "model": "a/m", "fallbacks": ["other"]})).json()
        assert (reply["extra_fields"]["provider"], reply["model"]) == ("c", "other")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504, 301])
    async def test_every_refusal_of_a_vendor_moves_on(self, gateway, status) -> None:
        self.fail("a", status=status)
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "a/m", "fallbacks": ["b/m"]})
        assert reply.json()["extra_fields"]["provider"] == "b"

    async def test_rubbish_moves_on(self, gateway) -> None:
        self.vendors["a"].reply_with(200, {"results": [{"index": 7, "relevance_score": 1}]})
        reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "a/m", "fallbacks": ["b/m"]})
        assert reply.json()["extra_fields"]["provider"] == "b"

    async def test_a_provider_that_is_not_configured_moves_on(self, gateway) -> None:
        body = {**ASKED, "model": "nobody/m", "fallbacks": ["nothing/m", "b/m"]}
        fields = (await gateway.post("/v1/rerank", json=body)).json()["extra_fields"]
        assert fields["provider"] == "b"
        assert [row["provider"] for row in fields["attempts"]] == ["nobody", "nothing", "b"]
        assert fields["attempts"][0]["error"] == 'unknown model "nobody/m"'

    async def test_when_none_serves_the_first_error_comes_with_all_attempts(self, gateway) -> None:
        self.fail("a", status=422)
        self.fail("b", "c", status=503)
        body = {**ASKED, "model": "a/m", "fallbacks": ["b/m", "c/m"]}
        reply = await gateway.post("/v1/rerank", json=body)
        assert (reply.status_code, reply.json()["message"]) == (422, "a failed")
        attempts = reply.json()["extra_fields"]["attempts"]
        assert [(row["provider"], row["status"]) for row in attempts] == [("a", 422), ("b", 503), ("c", 503)]

    async def test_a_bad_request_asks_nobody(self, gateway) -> None:
        await gateway.post("/v1/rerank", json={"model": "a/m", "query": "", "documents": ["a"], "fallbacks": ["b/m"]})
        assert self.asked() == []


async def test_reloads_do_not_gather_the_targets_that_only_callers_named() -> None:
    config = from_tree(ROUTES)
    routes = build(config)
    for reload in range(3):
        for number in range(MAX_ADHOC_ROUTES):
            routes.resolve(f"one/invented-{reload}-{number}")
        before, routes = routes, build(config, routes)
        await before.aclose(routes)
    assert len(routes.breakers()) <= MAX_ADHOC_ROUTES + 10
    await routes.aclose()


async def test_invented_names_do_not_push_out_what_is_known_of_a_configured_target() -> None:
    tree = {**ROUTES, "models": {"best": {"target": "one/m", "fallbacks": ["one/spare"]}}}
    routes = build(from_tree(tree))
    for name in ("one/m", "one/spare"):
        routes.resolve(name)
    before = {name: routes.breakers()[name] for name in ("one/m", "one/spare")}
    for number in range(MAX_ADHOC_ROUTES + 10):
        routes.resolve(f"one/invented-{number}")
    assert {name: routes.breakers()[name] for name in before} == before
    await routes.aclose()
