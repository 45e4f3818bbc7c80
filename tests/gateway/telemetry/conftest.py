"""Spans into memory, and what every telemetry test asks with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.config.loader import from_tree
from gateway.server import app
from gateway.telemetry import setup
from gateway.telemetry.traces import Traces
from tests.gateway.telemetry.collector import Collector


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[dict[str, Any]], Awaitable[httpx.AsyncClient]]]:
    """Open a gateway in this process; gives a client of it. Each lives in a task of its own, which also closes it."""
    over = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def live(tree: dict[str, Any], ready: asyncio.Future[httpx.AsyncClient]) -> None:
        application = app.create(from_tree(tree))
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with application.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            ready.set_result(client)
            await over.wait()

    async def open_gateway(tree: dict[str, Any]) -> httpx.AsyncClient:
        ready: asyncio.Future[httpx.AsyncClient] = asyncio.Future()
        tasks.append(asyncio.create_task(live(tree, ready)))
        await asyncio.wait([ready, tasks[-1]], return_when=asyncio.FIRST_COMPLETED)
        return ready.result() if ready.done() else tasks[-1].result()  # type: ignore[return-value]

    yield open_gateway
    over.set()
    await asyncio.gather(*tasks)


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


class Spans:
    """The spans that were made."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, start: str) -> list[dict[str, Any]]:
        """The attributes of the spans whose name begins so, in the order of their starts."""
        found = [span for span in self.all() if span.name.startswith(start)]
        return [dict(span.attributes or {}) for span in sorted(found, key=lambda span: span.start_time or 0)]

    def tree(self) -> Any:
        """[name, [children …]] from the root, children in the order of their starts."""
        spans = sorted(self.all(), key=lambda span: span.start_time or 0)
        ids = {span.context.span_id for span in spans}

        def branch(span: ReadableSpan) -> list[Any]:
            children = [child for child in spans if child.parent and child.parent.span_id == span.context.span_id]
            return [span.name, [branch(child) for child in children]] if children else [span.name]

        roots = [span for span in spans if span.parent is None or span.parent.span_id not in ids]
        assert len(roots) == 1, [span.name for span in spans]
        return branch(roots[0])


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Gateways opened in this test put their spans here, at once."""
    found = Spans()

    def open_traces(settings: Any, peers: Any) -> Traces:
        ratio = settings.settings.traces.sample_ratio
        return Traces(
            SimpleSpanProcessor(found.exporter), setup.resource(settings), setup.span_attributes(settings, peers), ratio
        )

    monkeypatch.setattr(setup, "open_traces", open_traces)
    yield found
    found.exporter.shutdown()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says of OpenTelemetry is not part of a test."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "OPENINFERENCE_"))]:
        monkeypatch.delenv(name)


BODY: dict[str, Any] = {"model": "cohere/m", "query": "red apple", "documents": ["green pear", "red apple"]}


@pytest.fixture
def settings(upstream: Any) -> Callable[..., dict[str, Any]]:
    """A configuration with one upstream as two providers, and whatever else is given."""

    def make(**more: Any) -> dict[str, Any]:
        vendor = {"base_url": upstream.url, "api_key": "key-of-the-vendor", "retry": {"retries": 0}}
        return {"auth": "none", "providers": {"cohere": {**vendor}, "jina": {**vendor}}, **more}

    return make
