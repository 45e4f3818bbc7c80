"""Read a request's body: whole, decompressed, and never more of it than the limits allow."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from litestar.types import Receive

from gateway.api.size_limits import body_too_large, check_depth
from gateway.config.limits import RequestLimitSettings
from gateway.errors import CallerGone
from providers.errors import InvalidRequest

_GZIP = 16 + zlib.MAX_WBITS

UPLOAD_TIMEOUT = 60.0
"""Seconds that a body may take to arrive after its first piece: who stops in the middle holds nothing for longer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: RequestLimitSettings) -> bytes:
    """The whole request body, decompressed.

    Args:
        receive: ASGI's.
        headers: names in lower case.
        limits: what is refused.

    Raises:
        CallerGone: the caller hung up before the end.
        TooLarge: the body, or what it decompresses to, is over the limit. No more than that was kept.
        InvalidRequest: a compression we do not read, a broken one, JSON nested too deeply, or a body that never ends.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:18]) > limits.body_bytes:
        raise body_too_large(limits)
    body = await _received(receive, limits)
    encoding = headers.get(b"content-encoding")
    if encoding is not None:
        body = _decompressed(body, encoding, limits)
    check_depth(body, limits)
    return body


async def _received(receive: Receive, limits: RequestLimitSettings) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    if not message.get("more_body"):
        return message["body"]
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT):
            return await _rest(receive, message["body"], limits)
    except TimeoutError:
        raise InvalidRequest(f"the request's body did not arrive within {UPLOAD_TIMEOUT:g} s") from None


async def _rest(receive: Receive, first: bytes, limits: RequestLimitSettings) -> bytes:
    pieces, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        pieces.append(message["body"])
        size += len(message["body"])
        if size > limits.body_bytes:
            raise body_too_large(limits)
        more = bool(message.get("more_body"))
    return b"".join(pieces)


def _decompressed(body: bytes, encoding: bytes, limits: RequestLimitSettings) -> bytes:
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip"):
        raise InvalidRequest("content-encoding must be gzip or identity")
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, limits.body_bytes + 1)
    except zlib.error:
        raise InvalidRequest("the body is not the gzip that its content-encoding says") from None
    if len(plain) > limits.body_bytes:
        raise body_too_large(limits)
    if not decompressor.eof or decompressor.unused_data:
        raise InvalidRequest("the body is not one complete gzip stream")
    return plain
