"""What a request leaves behind is freed at once, however it ends: bodies that wait for the collector add up to
gigabytes while an upstream is down."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from litestar.types import Message, Scope

from gateway.config.loader import from_tree
from gateway.server.app import create
from providers.attempts import AttemptRecord, RunningAttempt
from providers.types import RerankRequest
from tests.gateway.loopback import Answer, hang, loopback, reply, then_close

GOOD = b'{"results": [{"index": 0, "relevance_score": 0.5}]}'
CALLS = 6
KEYS = [{"name": "old", "key": "k-old"}, {"name": "new", "key": "k-new"}]
HEDGED = {"models": {"both": {"targets": [{"target": "up/a"}, {"target": "up/b"}], "hedge": {"after": 0.001}}}}

ENDS: dict[str, tuple[Answer | None, int | None]] = {
    "served": (reply(body=GOOD), 200),
    "closed": (then_close(b""), 502),
    "broken off": (then_close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"), 502),
    "too late": (hang, 504),
    "busy": (reply(503), 503),
    "refused": (reply(400), 400),
    "refused credentials": (reply(401), 502),
    "rate limited": (reply(429), 429),
    "not JSON": (reply(body=b"[["), 502),
    "not a ranking of these": (reply(body=GOOD.replace(b"0,", b"7,")), 502),
    "nobody there": (None, 502),
    "served by the fallback": (None, 200),
    "every key refused": (reply(401), 502),
    "every key rate limited": (reply(429), 429),
    "two at once, both closed": (then_close(b""), 502),
    "two at once, both busy": (reply(503), 503),
    "two at once, both slow": (hang, 504),
    "the caller gone": (hang, None),
}


CASES = [(end, library) for end in ENDS for library in ("default", "aiohttp")]
# aiohttp's timer, which cancels its own task, makes a cycle of its own there.
CASES.remove(("two at once, both slow", "aiohttp"))


@pytest.mark.parametrize(("end", "library"), CASES)
async def test_nothing_waits_for_the_collector(end: str, library: str, unused_tcp_port: int) -> None:
    answer, expected = ENDS[end]
    async with upstream(answer, unused_tcp_port) as url:
        up = {"adapter": "cohere", "base_url": url, "api_key": "k", "client": library, "proxy": "none"}
        late = {"timeout": 0.05} if expected == 504 else {}
        keys = {"api_key": None, "api_keys": KEYS} if end.startswith("every key") else {}
        app = create(
            from_tree({"providers": {"up": {**up, **late, **keys}, "own": {"adapter": "passthrough"}}, **HEDGED})
        )
        async with app.lifespan():  # type: ignore[attr-defined]  # Litestar's own, without a server
            fallbacks = ["own/x"] if end == "served by the fallback" else []
            gc.collect()
            gc.disable()
            try:
                model = "both" if end.startswith("two") else "up/m"
                told = [await status(app, model, fallbacks, gone=end == "the caller gone") for _ in range(CALLS)]
                await asyncio.sleep(0)
                left = sum(type(thing) in (RerankRequest, RunningAttempt, AttemptRecord) for thing in gc.get_objects())
            finally:
                gc.enable()
    assert told[0] == expected
    assert left == 0


@asynccontextmanager
async def upstream(answer: Answer | None, nobody: int) -> AsyncIterator[str]:
    if answer is None:
        yield f"http://127.0.0.1:{nobody}"
        return
    async with loopback(answer) as server:
        yield f"http://127.0.0.1:{server.port}"


async def status(app: object, model: str, fallbacks: list[str], *, gone: bool) -> int | None:
    """The status of the answer to one request; None if there was no answer."""
    body = json.dumps({"model": model, "query": "q", "documents": ["d"], "fallbacks": fallbacks}).encode()
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    told: list[int] = []

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            told.append(message["status"])

    scope: Scope = {
        "type": "http", "method": "POST", "path": "/v1/rerank", "raw_path": b"/v1/rerank", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "", "state": {},
    }  # type: ignore[assignment,typeddict-item,typeddict-unknown-key]  # fmt: skip  # Litestar adds its own keys
    await app(scope, receive, send)  # type: ignore[operator]
    return told[0] if told else None
