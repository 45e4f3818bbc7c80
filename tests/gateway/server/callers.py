"""Callers that put load on a gateway process from threads, and count what they meet."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from gateway.server.processes import ACCEPT_DRAIN_SECONDS


class Callers:
    """Threads that send one request after the other until `stop`, or until the server sends them away.

    Attributes:
        seen: how often each outcome was met.
    """

    def __init__(self, url: str, request: dict[str, Any], callers: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._request = request
        self._stopping = False
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Return after that many more outcomes."""
        total = self.seen.total() + count
        while self.seen.total() < total:
            time.sleep(0.01)

    def stop(self) -> Counter[str]:
        self._stopping = True
        for thread in self._threads:
            thread.join()
        return self.seen

    def _call(self) -> None:
        raise NotImplementedError


class KeepAliveCallers(Callers):
    """Each keeps one connection, and leaves at `connection: close`, as behind a load balancer."""

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._stopping:
                try:
                    response = client.post("/v1/rerank", json=self._request)
                    self.seen[str(response.status_code)] += 1
                    if response.headers.get("connection") == "close":
                        self.seen["sent away"] += 1
                        return
                except httpx.HTTPError as error:
                    self.seen[repr(error)] += 1


class NewConnectionCallers(Callers):
    """Each opens a new connection for every request, until nobody listens any more.

    A request that this machine has held up between its connection and its bytes, and that was then not served, is seen
    as `too late`: a gateway that stops cannot wait for ever for what may never be sent.
    """

    def _call(self) -> None:
        while not self._stopping and self.seen["refused"] < len(self._threads):
            self.seen[self._outcome()] += 1

    def _outcome(self) -> str:
        start, sent = time.monotonic(), None
        try:
            with socket.create_connection(address_of(self._url), timeout=60) as connection:
                connection.sendall(raw_request(self._request))
                sent = time.monotonic()
                outcome = connection.recv(4096)[9:12].decode() or "closed without a response"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            outcome = repr(error)
        is_late = (sent or time.monotonic()) - start > ACCEPT_DRAIN_SECONDS
        return "too late" if is_late and outcome != "200" else outcome


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a gateway's URL."""
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def raw_request(request: dict[str, Any]) -> bytes:
    """The bytes of a rerank request."""
    body = json.dumps(request).encode()
    return b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def wait_until(condition: Callable[[], Any]) -> None:
    """Poll a condition of another process, for a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
