"""Read a request body, decompress it, and stop at the limits of its size."""

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
"""Seconds for a body to arrive, counted from its first chunk, so that a stalled upload does not hold memory."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: RequestLimitSettings) -> bytes:
    """Read the whole body.

    Args:
        receive: ASGI's.
        headers: names in lower case.
        limits: on the size, before and after decompression, and on the nesting of the JSON.

    Raises:
        CallerGone: the caller hung up before the end.
        TooLarge: the body is over the limit, compressed or not. Reading stops there.
        InvalidRequest: an unknown or broken compression, JSON nested too deeply, or UPLOAD_TIMEOUT has passed.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:18]) > limits.body_bytes:
        raise body_too_large(limits)
    body = await _receive_body(receive, limits)
    encoding = headers.get(b"content-encoding")
    if encoding is not None:
        body = _decompress(body, encoding, limits)
    check_depth(body, limits)
    return body


async def _receive_body(receive: Receive, limits: RequestLimitSettings) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    if not message.get("more_body"):
        return message["body"]
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT):
            return await _receive_rest(receive, message["body"], limits)
    except TimeoutError:
        raise InvalidRequest(f"the request body did not arrive within {UPLOAD_TIMEOUT:g} s") from None


async def _receive_rest(receive: Receive, first: bytes, limits: RequestLimitSettings) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGone
        chunks.append(message["body"])
        size += len(message["body"])
        if size > limits.body_bytes:
            raise body_too_large(limits)
        more = bool(message.get("more_body"))
    return b"".join(chunks)


def _decompress(body: bytes, encoding: bytes, limits: RequestLimitSettings) -> bytes:
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip"):
        raise InvalidRequest("content-encoding must be gzip or identity; send the body in one of them")
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, limits.body_bytes + 1)
    except zlib.error:
        raise InvalidRequest("content-encoding says gzip, but the body is not valid gzip") from None
    if len(plain) > limits.body_bytes:
        raise body_too_large(limits)
    if not decompressor.eof or decompressor.unused_data:
        raise InvalidRequest("the body is not one complete gzip stream; it is cut short, or other data follows")
    return plain
