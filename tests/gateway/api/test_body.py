"""A body that never ends holds nothing for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.api import body
from gateway.config.limits import RequestLimitSettings
from providers.errors import InvalidRequest


def arriving(*pieces: bytes, complete: bool) -> Any:
    """ASGI's `receive` for a body in pieces; one that is not complete leaves its reader waiting."""
    left = [
        {"type": "http.request", "body": piece, "more_body": not complete or number + 1 < len(pieces)}
        for number, piece in enumerate(pieces)
    ]

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    return receive


async def test_pieces_are_put_together() -> None:
    assert await body.read_body(arriving(b'{"a"', b":", b"1}", complete=True), {}, RequestLimitSettings()) == b'{"a":1}'


async def test_a_body_that_stops_in_the_middle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "UPLOAD_TIMEOUT", 0.01)
    with pytest.raises(InvalidRequest, match="did not arrive within"):
        await body.read_body(arriving(b'{"a"', complete=False), {}, RequestLimitSettings())
