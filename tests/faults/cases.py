"""A configuration with every fault alone, before a healthy target, and before another fault; and what came of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
from msgspec import Struct

from tests.faults.server import MODES, FaultServer

DEADLINE = 3.0
"""Seconds that each call of the table may take. A busy machine unpacks a bomb for a second."""

SITUATIONS = ("alone", "with a healthy fallback", "all targets faulty")


class Outcome(Struct, frozen=True):
    """What a caller saw."""

    told: str
    seconds: float
    body: dict[str, Any]


def configuration(server: FaultServer) -> dict[str, Any]:
    """Every case has providers of its own, so that no breaker remembers another case."""
    providers, models = {}, {}
    for number, mode in enumerate(MODES):
        for name in ("alone", "first", "faulty", "other"):
            providers[f"{name}{number}"] = _provider(server.url(mode))
        models[f"0-{number}"] = {"target": f"alone{number}/m"}
        models[f"1-{number}"] = {"target": f"first{number}/m", "fallbacks": ["good/m"]}
        models[f"2-{number}"] = {"targets": [{"target": f"faulty{number}/m"}, {"target": f"other{number}/m"}]}
    return {"providers": {**providers, "good": _provider(server.url("good"))}, "models": models}


def _provider(url: str) -> dict[str, Any]:
    return {"adapter": "jina", "base_url": url, "api_key": "key-of-the-gateway", "proxy": "none"}


def outcomes(client: httpx.Client) -> Iterator[tuple[tuple[str, str], Outcome]]:
    """Every case once, in order."""
    for number, mode in enumerate(MODES):
        for situation, name in enumerate(SITUATIONS):
            yield (mode, name), ask(client, f"{situation}-{number}")


def ask(client: httpx.Client, model: str) -> Outcome:
    """One request, as a caller sees it."""
    body = {"model": model, "query": "q", "documents": ["a", "b"]}
    start = time.monotonic()
    answer = client.post("/v1/rerank", json=body, headers={"x-request-timeout-ms": str(int(DEADLINE * 1000))})
    return Outcome(_told(answer), time.monotonic() - start, answer.json())


def _told(answer: httpx.Response) -> str:
    body = answer.json()
    if answer.status_code != 200:
        waits = f", retry-after {answer.headers['retry-after']}" if "retry-after" in answer.headers else ""
        return f"{answer.status_code} {body['error_type']}{waits}"
    return "200, from the fallback" if body["extra_fields"]["provider"] == "good" else "200"
