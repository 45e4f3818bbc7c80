"""The order of the policies around a target, and what all names of a target share."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.access.memory import MemoryStore
from gateway.backends.local import LocalBackend
from gateway.config.loader import from_tree
from gateway.errors import BreakerOpen, Limited
from gateway.policy.fallback import Fallback, Step
from gateway.policy.key_pool import KeyedBackend, KeyPool, KeyState
from gateway.policy.target import Target
from gateway.policy.target_id import TargetId
from gateway.routing.live_provider import Address
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import Routes, build
from gateway.routing.stack import StackOptions, TargetState, stack
from gateway.telemetry.recorder import RequestRecorder
from providers.attempts import AttemptCounter
from providers.errors import Overloaded, RateLimited, TargetFailed
from providers.spec import LocalModel
from providers.types import Backend, Call, Ranked, Ranking, RerankRequest

TARGET = TargetId("one", "m")
PROVIDER: dict[str, Any] = {"adapter": "cohere", "base_url": "http://127.0.0.1:9"}
GOOD = Ranking(results=[Ranked(0, 0.5), Ranked(1, 0.25)])
WRONG_INDEX = Ranking(results=[Ranked(7, 0.5)])


class Upstream:
    """Gives the outcomes in turn, the last one for ever; holds every call while `gate` is closed."""

    def __init__(self, *outcomes: Ranking | Exception) -> None:
        self.outcomes = list(outcomes) or [GOOD]
        self.calls = 0
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.calls += 1
        self.called.set()
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def ready(self) -> bool:
        return False


def asked(model: str = "one/m") -> RerankRequest:
    return RerankRequest(model=model, query="q", documents=["a", "b"], call=Call(id="i"))


def stacked(backend: Backend, tree: dict[str, Any] | None = None, **provider: Any) -> Backend:
    config = from_tree({"providers": {"one": {**PROVIDER, **provider}}, **(tree or {})})
    state = TargetState(config.providers["one"])
    pricing, in_process = TargetPricing(config, MemoryStore()), isinstance(backend, LocalBackend)
    return stack([Address(backend)], TARGET, state, pricing, StackOptions(measure_latency=True, in_process=in_process))


def layers(backend: Any) -> list[str]:
    names = []
    while hasattr(backend, "backend"):
        names.append(type(backend).__name__)
        backend = backend.backend
    return names


LIMIT = {"rate_limits": {"models": {"one/m": {"requests": "1/hour"}}}}
UPSTREAM = ["LatencyProbe", "Retry", "Breaker", "Target", "Bulkhead"]


async def never(_: LocalModel) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("backend", "tree", "outermost_first"),
    [
        pytest.param(lambda: Upstream(), {}, UPSTREAM, id="an upstream"),
        pytest.param(lambda: Upstream(), LIMIT, [*UPSTREAM[:2], "RateLimit", *UPSTREAM[2:]], id="with a rate limit"),
        pytest.param(
            lambda: LocalBackend(never, LocalModel(name="m", path="x")),
            {},
            [*UPSTREAM, "Deadline", "PairwiseFanOut"],
            id="a local model",
        ),
    ],
)
async def test_the_order(backend: Any, tree: dict[str, Any], outermost_first: list[str]) -> None:
    assert layers(stacked(backend(), tree)) == outermost_first


async def test_every_layer_is_as_ready_as_the_backend() -> None:
    assert not await stacked(Upstream(), LIMIT).ready()


def limited(requests: int) -> dict[str, Any]:
    return {"rate_limits": {"models": {"one/m": {"requests": f"{requests}/hour"}}}}


async def test_a_limit_counts_retries_as_the_target_does() -> None:
    upstream = Upstream(TargetFailed("x", status=503), GOOD)
    served = stacked(upstream, limited(3), retry={"retries": 1, "base_backoff": 1e-9})
    await served.rerank(asked())
    assert upstream.calls == 2
    await served.rerank(asked())
    with pytest.raises(Limited):
        await served.rerank(asked())
    assert upstream.calls == 3


async def test_a_retry_beyond_the_limit_is_not_made_and_the_error_before_it_counts() -> None:
    upstream = Upstream(TargetFailed("the target's own error", status=503))
    served = stacked(upstream, limited(2), retry={"retries": 5, "base_backoff": 1e-9})
    with pytest.raises(TargetFailed, match="the target's own error"):
        await served.rerank(asked())
    assert upstream.calls == 2


async def test_a_limit_counts_nothing_while_the_breaker_is_open() -> None:
    upstream = Upstream(TargetFailed("x", status=400), GOOD)
    served = stacked(upstream, limited(2), retry={"retries": 0}, breaker={"failures": 1})
    with pytest.raises(TargetFailed):
        await served.rerank(asked())
    for _ in range(5):
        with pytest.raises(BreakerOpen):
            await served.rerank(asked())
    await served.rerank(replace(asked(), call=Call(id="i", bypass_cooldowns=True)))
    assert upstream.calls == 2


@pytest.mark.parametrize(("limit", "calls"), [(1, 1), (2, 2), (3, 3), (9, 4)])
async def test_a_limit_counts_every_key_of_a_provider(limit: int, calls: int) -> None:
    upstream = Upstream(RateLimited("slow down", status=429, retry_after=60))
    keys = [KeyedBackend(upstream, KeyState(f"k{number}", 1.0)) for number in range(4)]
    served = stacked(KeyPool(keys, "one"), limited(limit))
    with pytest.raises(RateLimited):
        await served.rerank(asked())
    assert upstream.calls == calls


@pytest.mark.parametrize("allowed", [1, 2, 5])
async def test_a_request_makes_so_many_attempts_and_no_more(allowed: int) -> None:
    """Over several targets, their retries and their keys together."""
    upstream = Upstream(RateLimited("slow down", status=429))
    attempts, recorder = AttemptCounter(allowed), RequestRecorder()
    steps = []
    for _ in range(3):
        keys = [KeyedBackend(upstream, KeyState(f"k{number}", 1.0)) for number in range(2)]
        steps.append(Step(stacked(KeyPool(keys, "one"), retry={"retries": 3, "base_backoff": 1e-9})))
    request = replace(asked(), call=Call(id="i", attempts=attempts, recorder=recorder))
    with pytest.raises(RateLimited):
        await Fallback(steps).rerank(request)
    assert upstream.calls == allowed
    assert "request_limits.attempts" in str(recorder.attempts[-1].error)


async def test_what_is_instant_serves_when_no_attempt_is_left() -> None:
    instant = Target(Upstream(), TARGET, is_instant=True)
    request = replace(asked(), call=Call(id="i", attempts=AttemptCounter(0)))
    assert (await instant.rerank(request)).results == GOOD.results


async def test_an_unusable_answer_ejects_and_an_open_breaker_is_not_retried() -> None:
    upstream = Upstream(WRONG_INDEX)
    served = stacked(upstream, retry={"retries": 2, "base_backoff": 1e-9}, breaker={"failures": 1})
    with pytest.raises(Exception, match="index 7"):
        await served.rerank(asked())
    with pytest.raises(BreakerOpen):
        await served.rerank(asked())
    assert upstream.calls == 1


def routes_over(monkeypatch: pytest.MonkeyPatch, upstream: Upstream, **provider: Any) -> Routes:
    monkeypatch.setattr("gateway.backends.http.HttpBackend.rerank", lambda _, request: upstream.rerank(request))
    models = {"alias": {"target": "one/m"}, "other": {"targets": [{"target": "one/m"}], "hedge": {"after": 9}}}
    return build(from_tree({"providers": {"one": {**PROVIDER, **provider}}, "models": models}))


async def ask(routes: Routes, name: str) -> Ranking:
    return await Fallback(routes.steps([name])).rerank(asked(name))


async def test_all_names_of_a_target_share_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = Upstream()
    upstream.gate.clear()
    routes = routes_over(monkeypatch, upstream, bulkhead={"concurrency": 1, "queue": 0})
    first = asyncio.create_task(ask(routes, "alias"))
    await upstream.called.wait()
    for name in ("one/m", "other", "alias"):
        with pytest.raises(Overloaded, match="one/m is busy with 1 calls"):
            await ask(routes, name)
    upstream.gate.set()
    assert (await first).results == GOOD.results
    assert (await ask(routes, "one/m")).results == GOOD.results
    await routes.aclose()


async def test_all_names_of_a_target_share_its_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = routes_over(monkeypatch, Upstream(TargetFailed("x", status=400)), breaker={"failures": 3})
    for name in ("one/m", "other", "alias"):
        assert not routes.breakers()["one/m"][0].ejected
        with pytest.raises(TargetFailed):
            await ask(routes, name)
    assert routes.breakers()["one/m"][0].ejected
    assert list(routes.breakers()) == ["one/m"]
    await routes.aclose()


def serve(routes: Routes, path: str) -> None:
    for breaker in routes.breakers()[path]:
        breaker.record_success(0.0, probe=False)


RELOADS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing changed": ({}, True),
    "another provider came": ({"two": PROVIDER}, True),
    "its provider changed": ({"one": {**PROVIDER, "timeout": 7}}, False),
}


@pytest.mark.parametrize(("providers", "kept"), RELOADS.values(), ids=RELOADS)
async def test_a_reload_keeps_what_is_known_of_an_unchanged_target(providers: dict[str, Any], kept: bool) -> None:
    tree = {"providers": {"one": PROVIDER}, "models": {"alias": {"target": "one/m"}}}
    first = build(from_tree(tree))
    first.resolve("one/adhoc")
    serve(first, "one/adhoc")
    second = build(from_tree({**tree, "providers": {"one": PROVIDER, **providers}}), first)
    second.resolve("one/adhoc")
    assert set(second.breakers()) == {"one/m", "one/adhoc"}
    for path in ("one/m", "one/adhoc"):
        assert (second.breakers()[path][0] is first.breakers()[path][0]) is kept
    await first.aclose(second)
    await second.aclose()


async def test_a_reload_forgets_the_targets_of_a_provider_that_is_gone() -> None:
    first = build(from_tree({"providers": {"one": PROVIDER, "two": PROVIDER}}))
    for name in ("one/m", "two/m"):
        first.resolve(name)
        serve(first, name)
    second = build(from_tree({"providers": {"two": PROVIDER}}), first)
    assert list(second.breakers()) == ["two/m"]
    assert not second.is_known("one/m")
    await first.aclose(second)
    await second.aclose()
