"""Shadow calls and canaries of a running gateway: what operators see of them, and that callers see nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.access.keys import hash_of
from gateway.config.loader import from_tree, load
from gateway.errors import ConfigError
from gateway.policy import shadow
from gateway.routing.canaries import Election
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.telemetry.metric_store import shared_folder
from gateway.telemetry.status import take_snapshot

BODY = {"model": "search", "query": "red apple", "documents": ["green pear", "red apple", "red plum"]}
REVERSED = {"results": [{"index": index, "relevance_score": 0.1 * (3 - index)} for index in (0, 1, 2)]}


@pytest.fixture(autouse=True)
def at_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is: what is dropped under load has tests of its own."""
    monkeypatch.setattr(shadow, "MAX_LAG_SECONDS", 60.0)


def tree(live: Any, candidate: Any, **shadow: Any) -> dict[str, Any]:
    once = {"retry": {"retries": 0}, "adapter": "cohere", "api_key": "k"}
    return {
        "auth": "none",
        "providers": {
            "live": {**once, "base_url": live.url},
            "new": {**once, "base_url": candidate.url, "breaker": {"failures": 1}},
        },
        "models": {"search": {"target": "live/m", "shadow": {"target": "new/m2", **shadow}}},
    }


async def status_when(client: Any, condition: Callable[[Any], Any]) -> Any:
    """The status as soon as it says so."""
    async with asyncio.timeout(20):
        while True:
            status = (await client.get("/v1/status")).json()
            if condition(status):
                return status
            await asyncio.sleep(0.001)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  a canary tells only the log
            await asyncio.sleep(0.001)


def calls(status: Any) -> dict[str, int]:
    return status["shadows"][0]["calls"] if status["shadows"] else {}


async def test_a_candidate_is_compared(opened, upstream, upstreams) -> None:
    candidate = upstreams()
    candidate.reply_with(200, REVERSED)
    client = await opened(tree(upstream, candidate))
    answer = await client.post("/v1/rerank", json=BODY)
    assert [row["index"] for row in answer.json()["results"]] == [1, 2, 0]
    status = await status_when(client, lambda found: calls(found).get("ok"))
    (shadow,) = status["shadows"]
    assert (shadow["model"], shadow["candidate"], shadow["calls"]) == ("search", "new/m2", {"ok": 1})
    assert shadow["kendall_tau"] == pytest.approx(-1 / 3, abs=0.001)
    assert (shadow["overlap_at_10"], shadow["top_changed"]) == (1.0, 1.0)
    assert shadow["latency_ms"]["p50"] > 0
    assert candidate.requests[0].body["documents"] == BODY["documents"]
    assert [target["provider"] for target in status["targets"] if target["attempts"]] == ["live"]


async def test_a_candidate_that_hangs_or_fails_costs_callers_nothing(opened, upstream, upstreams) -> None:
    candidate = upstreams()
    candidate.hold()
    settings = tree(upstream, candidate, concurrency=1)
    settings["models"]["direct"] = {"target": "new/m2"}
    client = await opened(settings)
    for _ in range(3):
        assert (await client.post("/v1/rerank", json=BODY)).status_code == 200
    assert calls((await client.get("/v1/status")).json()) == {"dropped": 2}
    candidate.release()
    await status_when(client, lambda found: calls(found).get("ok"))
    candidate.reply_with(500, {})
    assert (await client.post("/v1/rerank", json=BODY)).status_code == 200
    await status_when(client, lambda found: calls(found).get("error"))
    # The breaker of the candidate beside the model is open after one failure; the callers' own way to it is not.
    candidate.reply_with(200, REVERSED)
    assert (await client.post("/v1/rerank", json={**BODY, "model": "direct"})).status_code == 200
    answer = await client.post("/v1/rerank", json=BODY)
    assert answer.headers["x-gateway-attempts"] == "1"
    status = await status_when(client, lambda found: calls(found).get("error") == 2)
    assert calls(status) == {"dropped": 2, "ok": 1, "error": 2}
    states = {target["provider"]: target.get("state") for target in status["targets"]}
    assert states == {"live": "closed", "new": "closed"}


async def test_a_callers_limits_and_usage_know_nothing_of_it(opened, upstream, upstreams) -> None:
    candidate = upstreams()
    settings = tree(upstream, candidate)
    settings["auth"] = {"keys": [{"name": "team", "hash": hash_of("k"), "limits": {"requests": "3/hour"}}]}
    settings["rate_limits"] = {"models": {"new/m2": {"requests": "1/hour"}}}
    client = await opened(settings)
    client.headers["authorization"] = "Bearer k"
    for _ in range(2):
        assert (await client.post("/v1/rerank", json=BODY)).status_code == 200
        await status_when(client, lambda found: sum(calls(found).values()) == len(upstream.requests))
    assert calls((await client.get("/v1/status")).json()) == {"ok": 2}
    (row,) = (await client.get("/v1/usage")).json()["data"]
    assert (row["model"], row["requests"]) == ("live/m", 2)
    # The third request of three, and the first that counts towards the limit of the candidate.
    assert (await client.post("/v1/rerank", json={**BODY, "model": "new/m2"})).status_code == 200


async def test_what_another_target_served_is_not_compared(opened, upstream, upstreams) -> None:
    candidate = upstreams()
    settings = tree(upstream, candidate)
    settings["models"]["search"]["fallbacks"] = ["live/spare"]
    upstream.behaviour = lambda asked: (500, {}, {}) if asked.body["model"] == "m" else (200, REVERSED, {})
    client = await opened(settings)
    answer = await client.post("/v1/rerank", json=BODY)
    assert answer.headers["x-gateway-model"] == "spare"
    assert calls((await client.get("/v1/status")).json()) == {}
    assert candidate.requests == []


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        pytest.param({"shadow": {"target": "nobody/m"}}, 'unknown provider "nobody"', id="an unknown candidate"),
        pytest.param({"shadow": {"target": "search"}}, "must have the form provider/model", id="a name"),
        pytest.param({"shadow": {"target": "live/n", "share": 0}}, "greater than 0", id="no share"),
        pytest.param({"canary": {"every": "0s"}}, "greater than or equal to 1", id="a canary all the time"),
        pytest.param({"canary": {"texts": "no/such.yaml"}}, "cannot be read", id="a file that is not there"),
    ],
)
def test_configurations_that_are_refused(upstream, model: dict[str, Any], fault: str) -> None:
    settings = tree(upstream, upstream)
    settings["models"]["search"] = {"target": "live/m", **model}
    with pytest.raises(ConfigError, match=fault):
        from_tree(settings)


def watched(upstream: Any, **canary: Any) -> dict[str, Any]:
    provider = {"adapter": "cohere", "api_key": "k", "base_url": upstream.url, "retry": {"retries": 0}}
    return {
        "auth": "none",
        "providers": {"live": provider},
        "models": {
            "search": {"target": "live/m", "canary": {"every": "1h", **canary}},
            "same": {"target": "live/m", "canary": {"every": "1h", **canary}},
        },
    }


async def test_a_canary_sees_a_model_that_was_swapped_across_a_reload(tmp_path: Path, upstream: Any) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(watched(upstream)), encoding="utf-8")
    service = Service(load(path, {}))
    await service.open()
    (canary,) = service.routes.canaries
    await until(lambda: canary.state != "unknown")
    reloader = Reloader(service, path, lambda: load(path, {}))
    path.write_text(yaml.safe_dump({**watched(upstream), "default_model": "search"}), encoding="utf-8")
    # Another model behind the name: the scores of all documents but the first are gone.
    upstream.behaviour = lambda asked: (
        200,
        {"results": [{"index": index, "relevance_score": 0.0} for index in range(len(asked.body["documents"]))]},
        {},
    )
    assert await reloader.reload()
    (renewed,) = service.routes.canaries
    assert renewed is not canary
    await renewed.check()
    service.telemetry.refresh()
    (found,) = take_snapshot(service.telemetry.metric_store).canaries
    assert (found.provider, found.model, found.state) == ("live", "m", "moved")
    assert found.drift > 0.5
    await reloader.aclose()
    await service.aclose()


def test_one_worker_of_a_gateway_is_elected() -> None:
    with shared_folder():
        first, second = Election(), Election()
        assert [first.is_won(), second.is_won(), first.is_won()] == [True, False, True]
        assert first._lock is not None
        first._lock.close()
        assert second.is_won(), "when the first has ended"
        assert second._lock is not None
        second._lock.close()
    assert os.environ.get("RERANK_GATEWAY_METRICS_FOLDER") is None
    assert [Election().is_won(), Election().is_won()] == [True, True], "processes without siblings"
