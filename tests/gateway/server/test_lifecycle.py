"""A gateway process under signals and hang-ups: nothing that it accepted is lost."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml

from tests.faults.server import FaultServer
from tests.gateway.server.callers import KeepAliveCallers, address_of, raw_request, wait_until

ASK = {"model": "best", "query": "q", "documents": ["a", "b"]}


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultServer]:
    server = FaultServer().start()
    yield server
    server.stop()


def settings(upstream: FaultServer, mode: str, **more: Any) -> dict[str, Any]:
    provider = {"adapter": "jina", "base_url": upstream.url(mode), "proxy": "none"}
    base = {"server": {"drain": 0.5}, "providers": {"up": provider}, "models": {"best": {"target": "up/m"}}}
    return base | more


def test_sigterm_under_load_loses_nothing(faulty: FaultServer, start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(settings(faulty, "good", server={"drain": 3.0}))
    load = KeepAliveCallers(gateway.url, ASK)
    load.wait_for(20)
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        gateway.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503)
    assert gateway.wait() == 0
    seen = load.stop()
    assert set(seen) == {"200", "sent away"}, seen
    assert seen["sent away"] == 4


def test_what_is_under_way_is_finished(faulty: FaultServer, start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(settings(faulty, "slow drip", server={"drain": 0.0}))
    with httpx.Client(base_url=gateway.url, trust_env=False) as client, ThreadPoolExecutor(1) as caller:
        asking = caller.submit(client.post, "/v1/rerank", json=ASK, headers={"x-request-timeout-ms": "2000"})
        wait_until(lambda: faulty.asked.get("slow drip"))
        gateway.popen.send_signal(signal.SIGTERM)
        assert asking.result().status_code == 504
    assert gateway.wait() == 0


def test_a_second_sigterm_does_not_wait(faulty: FaultServer, start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(settings(faulty, "accept and hang", server={"drain": 60.0, "shutdown_timeout": 60.0}))
    with socket.create_connection(address_of(gateway.url)) as caller:
        caller.sendall(raw_request(ASK))
        wait_until(lambda: faulty.asked.get("accept and hang"))
        gateway.popen.send_signal(signal.SIGTERM)
        # Two signals before the first is handled would be one.
        wait_until(lambda: httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 503)
        gateway.popen.send_signal(signal.SIGTERM)
        gateway.wait()


def test_a_caller_that_hangs_up_cancels_the_upstream_call(faulty: FaultServer, start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(settings(faulty, "accept and hang"))
    asked, gone = faulty.asked.get("accept and hang", 0), faulty.gone.get("accept and hang", 0)
    with socket.create_connection(address_of(gateway.url)) as caller:
        caller.sendall(raw_request(ASK))
        wait_until(lambda: faulty.asked.get("accept and hang", 0) > asked)
        time.sleep(0.1)
    wait_until(lambda: faulty.gone.get("accept and hang", 0) > gone)


def test_a_caller_that_hangs_up_takes_its_texts_out_of_the_local_queue(start_ready: Callable[..., Any]) -> None:
    gateway = start_ready(None)
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client:
        model = client.get("/v1/models").json()["data"][0]["id"]
        many = {"model": model, "query": "q", "documents": [f"{number} " + "word " * 200 for number in range(3000)]}
        with socket.create_connection(address_of(gateway.url)) as caller:
            caller.sendall(raw_request(many))
            wait_until(lambda: _local(client, "queue_tokens") > 0)
        wait_until(lambda: _local(client, "queue_tokens") == 0)
        assert _local(client, "batch_texts_total") < 2000
        answer = client.post("/v1/rerank", json={**ASK, "model": model})
        assert answer.status_code == 200
        assert _local(client, "batch_texts_total") < 2000


def test_health_checks_take_a_target_out_and_bring_it_back(
    faulty: FaultServer, start_ready: Callable[..., Any]
) -> None:
    faulty.plays["health"] = "503"
    tree = settings(faulty, "good")
    address = faulty.url("health").removesuffix("/v1/rerank")
    tree["providers"]["up"]["health_check"] = {"url": address, "interval": 0.1}
    tree["models"]["best"]["fallbacks"] = ["passthrough/order"]
    tree["providers"]["passthrough"] = {}
    gateway = start_ready(tree)
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for health, server, said in (("503", "passthrough", "fails"), ("good", "up", "passes")):
            faulty.plays["health"] = health
            wait_until(lambda server=server: _served_by(client) == server)  # type: ignore[misc]
            gateway.wait_for(f"{said} its health check")


@pytest.mark.parametrize("how", ["SIGHUP", "changed file"])
def test_a_reload_under_load_loses_nothing(faulty: FaultServer, start_ready: Callable[..., Any], how: str) -> None:
    gateway = start_ready(settings(faulty, "good"))
    load = KeepAliveCallers(gateway.url, ASK)
    load.wait_for(20)
    more = {"providers": settings(faulty, "good")["providers"] | {"passthrough": {}}}
    gateway.config_file.write_text(yaml.safe_dump(settings(faulty, "good", **more)), encoding="utf-8")
    if how == "SIGHUP":
        gateway.popen.send_signal(signal.SIGHUP)
    gateway.wait_for("was reloaded")
    load.wait_for(20)
    assert set(load.stop()) == {"200"}
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        assert client.post("/v1/rerank", json={**ASK, "model": "passthrough/order"}).status_code == 200


def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(
    faulty: FaultServer, start_ready: Callable[..., Any]
) -> None:
    gateway = start_ready(settings(faulty, "good"))
    gateway.config_file.write_text("providers: {up: {timeout: -1}}\nmodls: {}\n", encoding="utf-8")
    gateway.popen.send_signal(signal.SIGHUP)
    line = gateway.wait_for("was not reloaded")
    assert "providers.up.timeout" in line
    assert "modls" in line
    assert httpx.post(f"{gateway.url}/v1/rerank", json=ASK, trust_env=False).status_code == 200


def test_breakers_survive_a_reload(faulty: FaultServer, start_ready: Callable[..., Any]) -> None:
    tree = settings(faulty, "500")
    tree["providers"]["good"] = {"adapter": "jina", "base_url": faulty.url("good"), "proxy": "none"}
    tree["models"]["best"]["fallbacks"] = ["good/m"]
    gateway = start_ready(tree)
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for _ in range(3):
            client.post("/v1/rerank", json=ASK)
        asked = faulty.asked["500"]
        gateway.config_file.write_text(yaml.safe_dump({**tree, "request_limits": {"documents": 5}}), encoding="utf-8")
        gateway.popen.send_signal(signal.SIGHUP)
        gateway.wait_for("was reloaded")
        answer = client.post("/v1/rerank", json=ASK).json()
    assert faulty.asked["500"] == asked
    assert "breaker open" in answer["extra_fields"]["attempts"][0]["error"]


def _served_by(client: httpx.Client) -> str:
    return str(client.post("/v1/rerank", json=ASK).json()["extra_fields"]["provider"])


def _local(client: httpx.Client, name: str) -> float:
    """The value of a metric of the local engine."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"rerank_gateway_local_{name}{{"))
