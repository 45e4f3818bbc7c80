"""Every fault that a caller can have, as bytes on a connection, and what it gets: a table in docs/operations.md."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

from msgspec import Struct

BODY = b'{"model":"passthrough/order","query":"q","documents":["a","b"]}'
LAST = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
CLOSED, KEPT = "then closed", "connection kept"


def head(*lines: bytes, length: int = len(BODY), target: bytes = b"POST /v1/rerank") -> bytes:
    return b"\r\n".join([target + b" HTTP/1.1", b"host: a", *lines, b"content-length: %d" % length, b"", b""])


class CallerFault(Struct, frozen=True):
    """What is sent, each piece by itself, and what comes of it.

    Attributes:
        told: the status of each answer, with the error's type, and whether the connection can be used again.
        ends: whether the caller then sends no more.
    """

    pieces: list[bytes]
    told: str
    ends: bool = False


UPGRADE = (b"connection: Upgrade, HTTP2-Settings", b"http2-settings: AAEAAEAAAAIAAAAB", b"upgrade: h2c")
WEBSOCKET = (b"connection: upgrade", b"upgrade: websocket")
EXPECT = b"expect: 100-continue"
HUGE = 10_000_000_000

FAULTS: dict[str, CallerFault] = {
    "offers HTTP/2 (Java, `curl --http2`)": CallerFault([head(*UPGRADE), BODY], f"200, {KEPT}"),
    "offers a websocket": CallerFault([head(*WEBSOCKET) + BODY], f"200, {KEPT}"),
    "speaks HTTP/2 without asking": CallerFault(
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], f"505 http_version_not_supported, {CLOSED}"
    ),
    "speaks TLS to a port without": CallerFault([b"\x16\x03\x01\x02\x00\x01\x00"], f"400 invalid_request, {CLOSED}"),
    "sends no Host": CallerFault([b"GET /livez HTTP/1.1\r\n\r\n"], f"400 invalid_request, {CLOSED}"),
    "sends what is no HTTP": CallerFault([b"HELO gateway\r\n\r\n"], f"400 invalid_request, {CLOSED}"),
    "sends that behind a sound request": CallerFault(
        [head() + BODY + b"HELO gateway\r\n\r\n"], f"200, 400 invalid_request, {CLOSED}"
    ),
    "breaks its chunks": CallerFault(
        [head().replace(b"content-length: 63", b"transfer-encoding: chunked") + b"xyz\r\n"],
        f"400 invalid_request, {CLOSED}",
    ),
    "sends a head beyond 64 KiB": CallerFault(
        [head()[:-2] + b"x-a: " + b"a" * 400_000], f"431 headers_too_large, {CLOSED}"
    ),
    "sends trailers without end": CallerFault(
        [head().replace(b"content-length: 63", b"transfer-encoding: chunked") + b"0\r\n", b"x-a: a\r\n" * 50_000],
        f"431 headers_too_large, {CLOSED}",
    ),
    "packs its body in a transfer coding beside `chunked`": CallerFault(
        [head().replace(b"content-length: 63", b"transfer-encoding: gzip, chunked") + b"0\r\n\r\n"],
        f"501 not_implemented, {CLOSED}",
    ),
    "pipelines": CallerFault([(head() + BODY) * 3], f"200, 200, 200, {KEPT}"),
    "sends no more after its request": CallerFault([head() + BODY], f"200, {CLOSED}", ends=True),
    "sends no more amid its request": CallerFault([head() + BODY[:9]], CLOSED, ends=True),
    "announces a body that is too large": CallerFault([head(length=HUGE)], f"413 too_large, {CLOSED}"),
    "the same, and waits for 100 Continue": CallerFault([head(EXPECT, length=HUGE)], f"413 too_large, {CLOSED}"),
    "waits for 100 Continue with a coding that is not read": CallerFault(
        [head(EXPECT, b"content-encoding: br")], f"415 unsupported_media_type, {CLOSED}"
    ),
    "is a page of another site": CallerFault(
        [head(b"origin: https://evil.net", b"content-type: text/plain") + BODY], f"403 foreign_origin, {KEPT}"
    ),
}


def tell(address: tuple[str, int], fault: CallerFault) -> str:
    """Do it, and say what came of it in the table's words."""
    with socket.create_connection(address, timeout=60) as connection:
        for piece in fault.pieces:
            connection.sendall(piece)
        if fault.ends:
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.sendall(LAST)
        answers = list(_split(_read(connection)))
    is_kept = bool(answers) and answers[-1] == "200 alive"
    return ", ".join([*answers[: len(answers) - is_kept], KEPT if is_kept else CLOSED])


def _read(connection: socket.socket) -> bytes:
    whole = b""
    while piece := connection.recv(65536):
        whole += piece
    return whole


def _split(whole: bytes) -> Iterator[str]:
    while whole:
        start, _, rest = whole.partition(b"\r\n\r\n")
        length = int(re.findall(rb"content-length: (\d+)", start)[0])
        body, whole = rest[:length], rest[length:]
        status = start[9:12].decode()
        if status == "200":
            yield "200" if b"results" in body else "200 alive"
        else:
            yield f"{status} {json.loads(body)['error_type']}"


def table() -> Iterator[str]:
    """The lines of the table in docs/operations.md."""
    yield "| a caller that | gets |"
    yield "|---|---|"
    for name, fault in FAULTS.items():
        yield f"| {name} | {fault.told} |"
