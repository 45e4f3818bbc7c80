"""Read a request body, decompress it, and stop at the limits of its size."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping

from litestar.types import Receive

from gateway.api.size_limits import body_too_large
from gateway.config.limits import RequestLimitSettings
from gateway.errors import CallerGone, UnreadableBody
from gateway.http1 import content_coding
from gateway.http1.content_coding import BrokenCoding, DecodedTooLarge, UnreadableCoding
from providers.errors import InvalidRequest


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: RequestLimitSettings) -> bytes:
    """Read the whole body, without a byte order mark (RFC 8259 section 8.1).

    Args:
        receive: ASGI's.
        headers: names in lower case.
        limits: on the size, before and after decompression.

    Raises:
        CallerGone: the caller hung up before the end.
        TooLarge: the body is over the limit, compressed or not. Reading stops there.
        UnreadableBody: a content coding other than gzip. Known before the body is read.
        InvalidRequest: the body is not valid gzip.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:18]) > limits.body_bytes:
        raise body_too_large(limits)
    coding = _coding(headers)
    body = await _receive_body(receive, limits)
    if coding:
        body = await _decompress(body, coding, limits)
    return body.removeprefix(BOM_UTF8)


def header_values(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by name; of a repeated one the last counts, but all content codings do (RFC 9110 section 5.3).

    Args:
        fields: a list, in their order; ASGI's type says less.
    """
    values = dict(fields)
    if b"content-encoding" in values:
        values[b"content-encoding"] = b",".join(value for name, value in fields if name == b"content-encoding")
    return values


async def _receive_body(receive: Receive, limits: RequestLimitSettings) -> bytes:
    """The body as it comes. The time for that is bounded by the server (gateway.server.protocol)."""
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGone
    if not message.get("more_body"):
        return message["body"]
    return await _receive_rest(receive, message["body"], limits)


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


def _coding(headers: Mapping[bytes, bytes]) -> str | None:
    """The value of Content-Encoding, if it names a coding. Raises UnreadableBody for one that is not read."""
    header = headers.get(b"content-encoding")
    if header is None:
        return None
    coding = header.decode("latin-1")
    try:
        return coding if content_coding.codings(coding) else None
    except UnreadableCoding as error:
        raise UnreadableBody(
            f"content-encoding is {error.args[0]}, which is not read here; send the body as gzip or without a coding"
        ) from None


async def _decompress(body: bytes, coding: str, limits: RequestLimitSettings) -> bytes:
    try:
        return await content_coding.decode(body, coding, limits.body_bytes)
    except DecodedTooLarge:
        raise body_too_large(limits) from None
    except BrokenCoding:
        raise InvalidRequest(
            "content-encoding says gzip, but the body is not valid gzip, or it is cut short; send it whole"
        ) from None
