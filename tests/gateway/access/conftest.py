"""What the access tests share: a running gateway in front of an upstream that counts, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from litestar import Litestar

from gateway.access.keys import new_key
from gateway.config import loader as configuration
from gateway.config.root import Config
from gateway.routing.kinds import http as http_kind
from gateway.server import app as application
from gateway.transport.base import Response

UPSTREAM = "http://upstream.invalid/v1"


class Upstream:
    """Stands in for every HTTP client: answers as Cohere does, and notes what it was sent."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.usage: dict[str, Any] = {"billed_units": {"search_units": 1}}
        self.status = 200
        self.wait: Callable[[], Awaitable[None]] | None = None
        self.headers: dict[str, str] = {}

    async def send(self, method: str, url: str, headers: Any, body: bytes, timeouts: Any) -> Response:
        self.calls.append((url, dict(headers), body))
        if self.wait:
            await self.wait()
        count = len(json.loads(body)["documents"])
        results = [{"index": index, "relevance_score": 1 - index / 1000} for index in range(count)]
        answer = json.dumps({"id": "x", "results": results, "meta": self.usage}).encode()
        return Response(self.status, {"content-type": "application/json", **self.headers}, answer)

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The only upstream there is."""
    fake = Upstream()
    monkeypatch.setattr(http_kind, "open_client", lambda settings: fake)
    return fake


def config(**sections: Any) -> Config:
    """A configuration with one provider, `cohere`, and an alias `fast` that falls back to `slow`."""
    tree = {
        "providers": {"cohere": {"base_url": UPSTREAM, "api_key": "upstream-secret"}},
        "models": {
            "fast": {"target": "cohere/rerank-v3.5", "fallbacks": ["slow"]},
            "slow": {"target": "cohere/rerank-v3.0"},
        },
        **sections,
    }
    return configuration.from_tree(tree)


def key(name: str = "team", **settings: Any) -> tuple[str, dict[str, Any]]:
    """A new key, and its entry in `auth.keys`."""
    secret, digest = new_key()
    return secret, {"name": name, "hash": digest, **settings}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Starts the gateway with these sections of the configuration; stops it after the test."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def start(**sections: Any) -> httpx.AsyncClient:
        app = application.create(config(**sections))
        started = asyncio.Event()
        tasks.append(asyncio.create_task(_alive(app, started, stop)))
        await started.wait()
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")

    yield start
    stop.set()
    await asyncio.gather(*tasks)


async def _alive(app: Litestar, started: asyncio.Event, stop: asyncio.Event) -> None:
    """Enters and leaves the lifespan in one task, as a server does."""
    async with app.lifespan():
        started.set()
        await stop.wait()


def body(**fields: Any) -> dict[str, Any]:
    """A valid request."""
    return {"model": "cohere/rerank-v3.5", "query": "tube", "documents": ["tubes", "helmets"], **fields}
