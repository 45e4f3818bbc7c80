"""A gateway process under signals and hang-ups: nothing that it accepted is lost."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.faults.server import FaultServer

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


def file_of(gateway: Any) -> Path:
    return Path(f"/proc/{gateway.popen.pid}/cwd").resolve() / "gateway.yaml"


class Load:
    """Callers that go on until told to stop; `seen` counts what they met."""

    def __init__(self, url: str, callers: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._stop = False
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        wanted = self.seen.total() + count
        while self.seen.total() < wanted:
            time.sleep(0.01)

    def stop(self) -> Counter[str]:
        self._stop = True
        for thread in self._threads:
            thread.join()
        return self.seen

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as client:
            while not self._stop:
                try:
                    answer = client.post("/v1/rerank", json=ASK)
                    self.seen[str(answer.status_code)] += 1
                    if answer.headers.get("connection") == "close":
                        self.seen["sent away"] += 1
                        return
                except httpx.HTTPError as error:
                    self.seen[repr(error)] += 1


def test_sigterm_under_load_loses_nothing(faulty: FaultServer, start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(settings(faulty, "good"))
    gateway.wait_until_ready()
    load = Load(gateway.url)
    load.wait_for(20)
    gateway.popen.send_signal(signal.SIGTERM)
    while httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 200:
        pass
    assert gateway.wait() == 0
    seen = load.stop()
    assert set(seen) == {"200", "sent away"}, seen
    assert seen["sent away"] == 4


def test_what_is_under_way_is_finished(faulty: FaultServer, start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(settings(faulty, "slow drip", server={"drain": 0.0}))
    gateway.wait_until_ready()
    with httpx.Client(trust_env=False, timeout=20) as client:
        timer = threading.Timer(0.3, gateway.popen.send_signal, [signal.SIGTERM])
        timer.start()
        answer = client.post(f"{gateway.url}/v1/rerank", json=ASK, headers={"x-request-timeout-ms": "2000"})
    assert answer.status_code == 504
    assert gateway.wait() == 0


def test_a_second_sigterm_does_not_wait(faulty: FaultServer, start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(settings(faulty, "accept and hang", server={"drain": 60.0, "shutdown_timeout": 60.0}))
    gateway.wait_until_ready()
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        _send(caller)
        _until(lambda: faulty.asked.get("accept and hang"))
        for _ in range(2):
            gateway.popen.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        gateway.wait()


def test_a_caller_that_hangs_up_cancels_the_upstream_call(
    faulty: FaultServer, start_gateway: Callable[..., Any]
) -> None:
    gateway = start_gateway(settings(faulty, "accept and hang"))
    gateway.wait_until_ready()
    host, port = gateway.url.removeprefix("http://").split(":")
    asked, gone = faulty.asked.get("accept and hang", 0), faulty.gone.get("accept and hang", 0)
    with socket.create_connection((host, int(port))) as caller:
        _send(caller)
        _until(lambda: faulty.asked.get("accept and hang", 0) > asked)
        time.sleep(0.1)
    _until(lambda: faulty.gone.get("accept and hang", 0) > gone)


def test_a_caller_that_hangs_up_takes_its_texts_out_of_the_local_queue(start_gateway: Callable[..., Any]) -> None:
    gateway = start_gateway(None)
    gateway.wait_until_ready()
    host, port = gateway.url.removeprefix("http://").split(":")
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as client:
        model = client.get("/v1/models").json()["data"][0]["id"]
        many = {"model": model, "query": "q", "documents": [f"{number} " + "word " * 200 for number in range(3000)]}
        with socket.create_connection((host, int(port))) as caller:
            _send(caller, many)
            _until(lambda: _local(client, "queue_tokens") > 0)
        _until(lambda: _local(client, "queue_tokens") == 0)
        assert _local(client, "batch_texts_total") < 2000
        answer = client.post("/v1/rerank", json={**ASK, "model": model})
        assert answer.status_code == 200
        assert _local(client, "batch_texts_total") < 2000


def test_health_checks_take_a_target_out_and_bring_it_back(
    faulty: FaultServer, start_gateway: Callable[..., Any]
) -> None:
    faulty.plays["health"] = "503"
    tree = settings(faulty, "good")
    address = faulty.url("health").removesuffix("/v1/rerank")
    tree["providers"]["up"]["health_check"] = {"url": address, "interval": 0.1}
    tree["models"]["best"]["fallbacks"] = ["passthrough/order"]
    tree["providers"]["passthrough"] = {}
    gateway = start_gateway(tree)
    gateway.wait_until_ready()
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for health, server in (("503", "passthrough"), ("good", "up")):
            faulty.plays["health"] = health
            _until(lambda server=server: _served_by(client) == server)  # type: ignore[misc]
    assert "fails its health check" in gateway.output
    assert "passes its health check" in gateway.output


@pytest.mark.parametrize("how", ["SIGHUP", "changed file"])
def test_a_reload_under_load_loses_nothing(faulty: FaultServer, start_gateway: Callable[..., Any], how: str) -> None:
    gateway = start_gateway(settings(faulty, "good"))
    gateway.wait_until_ready()
    load = Load(gateway.url)
    load.wait_for(20)
    more = {"providers": settings(faulty, "good")["providers"] | {"passthrough": {}}}
    file_of(gateway).write_text(yaml.safe_dump(settings(faulty, "good", **more)), encoding="utf-8")
    if how == "SIGHUP":
        gateway.popen.send_signal(signal.SIGHUP)
    gateway.wait_for("was reloaded")
    load.wait_for(20)
    assert set(load.stop()) == {"200"}
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        assert client.post("/v1/rerank", json={**ASK, "model": "passthrough/order"}).status_code == 200


def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(
    faulty: FaultServer, start_gateway: Callable[..., Any]
) -> None:
    gateway = start_gateway(settings(faulty, "good"))
    gateway.wait_until_ready()
    file_of(gateway).write_text("providers: {up: {timeout: -1}}\nmodls: {}\n", encoding="utf-8")
    gateway.popen.send_signal(signal.SIGHUP)
    line = gateway.wait_for("was not reloaded")
    assert "providers.up.timeout" in line
    assert "modls" in line
    assert httpx.post(f"{gateway.url}/v1/rerank", json=ASK, trust_env=False).status_code == 200


def test_breakers_survive_a_reload(faulty: FaultServer, start_gateway: Callable[..., Any]) -> None:
    tree = settings(faulty, "500")
    tree["providers"]["good"] = {"adapter": "jina", "base_url": faulty.url("good"), "proxy": "none"}
    tree["models"]["best"]["fallbacks"] = ["good/m"]
    gateway = start_gateway(tree)
    gateway.wait_until_ready()
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for _ in range(3):
            client.post("/v1/rerank", json=ASK)
        asked = faulty.asked["500"]
        file_of(gateway).write_text(yaml.safe_dump({**tree, "request_limits": {"documents": 5}}), encoding="utf-8")
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


def _send(caller: socket.socket, asked: Any = ASK) -> None:
    body = json.dumps(asked).encode()
    caller.sendall(b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
