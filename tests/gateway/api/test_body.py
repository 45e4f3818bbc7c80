"""A body is put together and decompressed, within its limits."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from gateway.api import body
from gateway.api.error_status import status_of
from gateway.config.limits import RequestLimitSettings
from providers.errors import RerankError


def arriving(*pieces: bytes) -> Any:
    """ASGI's `receive` for a body in pieces."""
    left = [
        {"type": "http.request", "body": piece, "more_body": number + 1 < len(pieces)}
        for number, piece in enumerate(pieces)
    ]

    async def receive() -> Any:
        return left.pop(0)

    return receive


async def test_pieces_are_put_together() -> None:
    assert await body.read_body(arriving(b'{"a"', b":", b"1}"), {}, RequestLimitSettings()) == b'{"a":1}'


PLAIN = b'{"a":1}'
PACKED = gzip.compress(PLAIN)
LIMITS = RequestLimitSettings(body_bytes=2048)

READ: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", PACKED),
    "spaces": (b" gzip\t", PACKED),
    "capitals": (b"GZip", PACKED),
    "its old name": (b"x-gzip", PACKED),
    "gzip and identity": (b"gzip, identity", PACKED),
    "identity": (b"identity", PLAIN),
    "nothing": (b"", PLAIN),
    "twice": (b"gzip, gzip", gzip.compress(PACKED)),
    "several members": (b"gzip", gzip.compress(PLAIN[:3]) + gzip.compress(b"") + gzip.compress(PLAIN[3:])),
    "padding": (b"gzip", PACKED + bytes(100)),
}


@pytest.mark.parametrize(("coding", "sent"), READ.values(), ids=READ)
async def test_a_coding_is_read(coding: bytes, sent: bytes) -> None:
    headers = {b"content-encoding": coding}
    assert await body.read_body(arriving(sent), headers, LIMITS) == PLAIN


REFUSED: dict[str, tuple[bytes, bytes, int, str]] = {
    "brotli": (b"br", PLAIN, 415, "content-encoding is br, which"),
    "zstd": (b"zstd", PLAIN, 415, "is zstd, which"),
    "deflate": (b"deflate", zlib.compress(PLAIN), 415, "is deflate, which"),
    "one below gzip": (b"br, gzip", PACKED, 415, "is br, which"),
    "a charset": (b"utf-8", PLAIN, 415, "is utf-8, which"),
    "no text": (b"\xff\x00", PLAIN, 415, "is ÿ?, which"),
    "too many": (b"gzip, gzip, gzip", PACKED, 415, "is 3 times gzip, which"),
    "not gzip": (b"gzip", PLAIN, 400, "not valid gzip"),
    "cut short": (b"gzip", PACKED[:-1], 400, "cut short"),
    "a second member cut short": (b"gzip", PACKED + PACKED[:-1], 400, "cut short"),
    "something else behind it": (b"gzip", PACKED + PLAIN, 400, "not valid gzip"),
    "too many members": (b"gzip", gzip.compress(b"") * 1001, 400, "not valid gzip"),
    "too large": (b"gzip", gzip.compress(bytes(2049)), 413, "request_limits.body_bytes"),
    "too large in members": (b"gzip", gzip.compress(bytes(1025)) * 2, 413, "request_limits.body_bytes"),
    "too large between": (b"gzip, gzip", gzip.compress(bytes(2049)), 413, "request_limits.body_bytes"),
}


@pytest.mark.parametrize(("coding", "sent", "status", "told"), REFUSED.values(), ids=REFUSED)
async def test_a_coding_is_refused(coding: bytes, sent: bytes, status: int, told: str) -> None:
    with pytest.raises(RerankError) as raised:
        await body.read_body(arriving(sent), {b"content-encoding": coding}, LIMITS)
    assert status_of(raised.value) == status
    assert told in raised.value.message


async def test_unpacking_a_large_body_lets_others_run() -> None:
    sent, turns = gzip.compress(bytes(20_000_000)), 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await body.read_body(arriving(sent), {b"content-encoding": b"gzip"}, RequestLimitSettings())
    counting.cancel()
    assert turns >= 18


@pytest.mark.parametrize("lines", [(b"gzip", b"identity"), (b"identity", b"gzip"), (b"gzip", b""), (b"gzip",)])
async def test_codings_in_lines_of_their_own_all_count(lines: tuple[bytes, ...]) -> None:
    headers = body.header_values([(b"host", b"a"), *((b"content-encoding", line) for line in lines)])
    assert await body.read_body(arriving(gzip.compress(PLAIN)), headers, LIMITS) == PLAIN
