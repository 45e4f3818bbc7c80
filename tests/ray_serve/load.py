"""Callers of the gateway that ask again as soon as they have their answer, and what became of their requests."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

SPARE = "spare"
"""The provider that serves what the cluster does not."""


def outcome_of(answer: httpx.Response) -> str:
    if answer.status_code != 200:
        return answer.text
    told = answer.json()["extra_fields"]
    failed = sorted({attempt["error"] for attempt in told.get("attempts", []) if attempt.get("error")})
    return str(told["provider"]) if told["provider"] != SPARE else f"{SPARE}: {'; '.join(failed)}"


class Load:
    """Keeps so many requests under way until it is told to end.

    Attributes:
        outcomes: how many requests ended how: the provider that served, with what had failed before if it was not the
            first; or the error.
        slowest: seconds of the longest request.
    """

    def __init__(self, url: str, body: dict[str, Any], callers: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self._url, self._body = url, body
        self._lock, self._over = threading.Lock(), threading.Event()
        self._callers = [threading.Thread(target=self._ask) for _ in range(callers)]

    def start(self) -> None:
        for caller in self._callers:
            caller.start()

    def end(self) -> None:
        self._over.set()
        for caller in self._callers:
            caller.join()

    def spared(self) -> int:
        """Requests that the spare served."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.startswith(SPARE))

    def served(self, count: int) -> bool:
        """Whether that many requests have ended by now."""
        return self.outcomes.total() >= count

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._over.is_set():
                start = time.monotonic()
                answer = client.post("/v1/rerank", json=self._body)
                took = time.monotonic() - start
                with self._lock:
                    self.outcomes[outcome_of(answer)] += 1
                    self.slowest = max(self.slowest, took)


@contextmanager
def load(url: str, body: dict[str, Any], callers: int) -> Iterator[Load]:
    """Requests under way within the block."""
    running = Load(url, body, callers)
    running.start()
    try:
        yield running
    finally:
        running.end()
