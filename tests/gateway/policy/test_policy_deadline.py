"""The deadline: how long a call may take, and that its end is kept."""

from __future__ import annotations

import asyncio
import time as clock
from typing import Any

import pytest

from gateway.policy.deadline import Deadline, DeadlineSettings, allowed
from providers.errors import InvalidRequest, TargetTimeout


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, 30.0, id="none"),
        pytest.param(b"1", 0.001, id="one"),
        pytest.param(b"2500", 2.5, id="milliseconds"),
        pytest.param(b"999999999", 300.0, id="capped"),
    ],
)
def test_allowed(header: bytes | None, seconds: float) -> None:
    assert allowed(DeadlineSettings(), header) == seconds


@pytest.mark.parametrize("header", [b"", b"0", b"-1", b"1.5", b"1e3", b"soon", b"9" * 99, "²".encode()])
def test_refused(header: bytes) -> None:
    with pytest.raises(InvalidRequest, match="x-request-timeout-ms must be a whole number of milliseconds"):
        allowed(DeadlineSettings(), header)


async def test_whatever_the_target_does_it_ends(scripted: Any, request_with: Any) -> None:
    class Hanging(scripted):  # type: ignore[misc]
        async def rerank(self, request: Any) -> Any:
            await asyncio.Event().wait()

    request = request_with(left=clock.monotonic() + 0.01)
    with pytest.raises(TargetTimeout, match='no complete answer from provider "jina" within'):
        await Deadline(Hanging(), "jina").rerank(request)


async def test_past_it_nobody_is_asked(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted()
    with pytest.raises(TargetTimeout, match='no time was left to ask provider "jina"'):
        await Deadline(backend, "jina", time.clock).rerank(request_with(-0.1, time))
    assert not backend.requests
