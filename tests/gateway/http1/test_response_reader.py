"""What comes over a connection, cut anywhere, becomes answers or a fault."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import repeat

import pytest

from gateway.http1.response_reader import (
    MAX_HEAD_BYTES,
    BodyTooLarge,
    ProtocolError,
    RawResponse,
    ResponseReader,
)

HEAD = b"HTTP/1.1 200 OK\r\n"
LIMIT = 100

WHOLE: dict[str, tuple[bytes, int, dict[str, str], bytes, bool]] = {
    "a length": (HEAD + b"Content-Length: 2\r\n\r\n{}", 200, {"content-length": "2"}, b"{}", True),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, {}, b"", True),
    "a 304 has no body, whatever its length": (
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, {"content-length": "9"}, b"", True,
    ),
    "chunks": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\n\r\n",
        200, {"transfer-encoding": "chunked"}, b"{}", True,
    ),
    "trailers are not headers": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\ncontent-encoding: gzip\r\n\r\n",
        200, {"transfer-encoding": "chunked"}, b"{}", True,
    ),
    "a status nobody knows": (
        b"HTTP/1.1 599 Whatever\r\ncontent-length: 0\r\n\r\n", 599, {"content-length": "0"}, b"", True,
    ),
    "a status without a word": (b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, {"content-length": "0"}, b"", True),
    "go on": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\n{}",
        200, {"content-length": "2"}, b"{}", True,
    ),
    "hints are not headers": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + HEAD + b"content-length: 0\r\n\r\n",
        200, {"content-length": "0"}, b"", True,
    ),
    "the first of several values": (
        HEAD + b"retry-after: 1\r\nRetry-After: 2\r\ncontent-length: 0\r\n\r\n",
        200, {"retry-after": "1", "content-length": "0"}, b"", True,
    ),
    "the connection will close": (
        HEAD + b"connection: close\r\ncontent-length: 0\r\n\r\n",
        200, {"connection": "close", "content-length": "0"}, b"", False,
    ),
    "an old version": (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, {"content-length": "0"}, b"", False),
}  # fmt: skip


@pytest.mark.parametrize("step", [10_000, 7, 1], ids=["in one piece", "in pieces", "byte by byte"])
@pytest.mark.parametrize(("data", "status", "headers", "body", "reusable"), WHOLE.values(), ids=WHOLE)
def test_an_answer_is_whole_with_its_last_byte(
    data: bytes, status: int, headers: dict[str, str], body: bytes, reusable: bool, step: int
) -> None:
    reader = ResponseReader(LIMIT)
    assert not reader.has_started
    complete = [reader.feed(data[start : start + step]) for start in range(0, len(data), step)]
    assert complete == [False] * (len(complete) - 1) + [True]
    assert (reader.has_started, reader.reusable) == (True, reusable)
    assert reader.pop_response() == RawResponse(status, headers, body)


def test_one_answer_after_the_other() -> None:
    reader = ResponseReader(LIMIT)
    for number in range(3):
        assert reader.feed(HEAD + b"content-length: 1\r\nx-%d: y\r\n\r\n%d" % (number, number))
        assert reader.pop_response() == RawResponse(200, {"content-length": "1", f"x-{number}": "y"}, b"%d" % number)
        assert not reader.has_started


MORE = {
    "garbage": b"!!",
    "another answer": HEAD + b"content-length: 0\r\n\r\n",
    "the beginning of one": b"HTT",
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_more_than_the_answer_ends_the_use_of_a_connection(more: bytes) -> None:
    reader = ResponseReader(LIMIT)
    assert reader.feed(HEAD + b"content-length: 2\r\n\r\n{}" + more)
    assert not reader.reusable
    assert reader.pop_response().body == b"{}"


FAULTS: dict[str, tuple[bytes, type[Exception]]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError),
    "a length that is no number": (HEAD + b"content-length: many\r\n\r\n", ProtocolError),
    "a chunk whose size is no number": (HEAD + b"transfer-encoding: chunked\r\n\r\nmany\r\n", ProtocolError),
    "a length and chunks": (HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}", ProtocolError),
    "another protocol from here on": (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", ProtocolError,
    ),
    "a head without end": (HEAD + b"x-more: y\r\n" * (MAX_HEAD_BYTES // 11), ProtocolError),
    "a header without end": (HEAD + b"x: " + b"y" * MAX_HEAD_BYTES, ProtocolError),
    "too long by its length": (HEAD + b"content-length: 101\r\n\r\n" + b"x" * 101, BodyTooLarge),
    "too long in chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 11, BodyTooLarge),
}  # fmt: skip


@pytest.mark.parametrize("step", [100_000, 997], ids=["in one piece", "in pieces"])
@pytest.mark.parametrize(("data", "error"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told(data: bytes, error: type[Exception], step: int) -> None:
    with pytest.raises(error):
        fed(data, step)


def fed(data: bytes, step: int) -> list[bool]:
    reader = ResponseReader(LIMIT)
    return [reader.feed(data[start : start + step]) for start in range(0, len(data), step)]


ENDS = {
    "no length told": (HEAD + b"\r\n{}", True),
    "a length told": (HEAD + b"content-length: 9\r\n\r\n{}", False),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", False),
    "in the head": (HEAD, False),
    "no coding": (HEAD + b"transfer-encoding: identity\r\n\r\n{}", True),
    "no coding, in capitals": (HEAD + b"Transfer-Encoding: IDENTITY \r\n\r\n{}", True),
    "chunks after a coding": (HEAD + b"transfer-encoding: gzip, Chunked\r\n\r\n1\r\n{\r\n", False),
    "chunks by a second header": (
        HEAD + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "ends"), ENDS.values(), ids=ENDS)
def test_whether_the_connections_end_is_the_answers(data: bytes, ends: bool) -> None:
    reader = ResponseReader(LIMIT)
    assert not reader.feed(data)
    assert reader.ends_with_connection() is ends


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
MIB = 2**20

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a header's value": (HEAD + b"x: ", b"y"),
    "headers": (HEAD, b"x: y\r\n"),
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers with headers": (b"", b"HTTP/1.1 103 X\r\nlink: <a>\r\n\r\n"),
    "line breaks before an answer": (b"", b"\r\n"),
    "a trailer's value": (CHUNKED + b"1\r\n{\r\n0\r\nx: ", b"y"),
    "a trailer's name": (CHUNKED + b"1\r\n{\r\n0\r\n", b"y"),
    "trailers": (CHUNKED + b"1\r\n{\r\n0\r\n", b"x: y\r\n"),
    "a chunk's extension": (CHUNKED + b"1;", b"y"),
    "extensions of chunks": (CHUNKED, b"1;" + b"y" * 100 + b"\r\nx\r\n"),
    "a chunk's size": (CHUNKED, b"0"),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n"),
    "chunks of two bytes": (CHUNKED, b"2\r\nxx\r\n"),
    "chunks of 16 bytes with long sizes": (CHUNKED, b"00000010\r\n0123456789abcdef\r\n"),
}


def packets(start: bytes, again: bytes, size: int) -> Iterator[bytes]:
    yield start
    yield from repeat(again * (size // len(again)), 64 * MIB // size)


@pytest.mark.parametrize("size", [1400, 256 * 1024], ids=["packets", "large reads"])
@pytest.mark.parametrize(("start", "again"), ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_given_up_soon(start: bytes, again: bytes, size: int) -> None:
    reader, received, began = ResponseReader(32 * MIB), 0, time.thread_time()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):  # noqa: PT012  # which packet is one too many depends on the case
            for packet in packets(start, again, size):
                received += len(packet)
                reader.feed(packet)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received < 3 * MIB
    assert peak < 3 * MIB
    assert time.thread_time() - began < 1


SMALL_CHUNKS = {
    "any size in a short body": (1, 40_000),
    "24 bytes in a long one": (24, 1_000_000),
    "large ones": (65536, 500),
}


@pytest.mark.parametrize(("size", "count"), SMALL_CHUNKS.values(), ids=SMALL_CHUNKS)
def test_chunks_of_sensible_size_are_read(size: int, count: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, b"x" * size)
    reader = ResponseReader(32 * MIB)
    reader.feed(CHUNKED)
    at_once = max(1, 65536 // len(chunk))
    for _ in range(count // at_once):
        reader.feed(chunk * at_once)
    assert reader.feed(b"0\r\n\r\n")
    assert len(reader.pop_response().body) == size * at_once * (count // at_once)


def test_a_body_in_small_pieces_takes_its_own_size() -> None:
    size = 64 * 1024
    reader = ResponseReader(size)
    reader.feed(HEAD + b"content-length: %d\r\n\r\n" % size)
    tracemalloc.start()
    for _ in range(size - 1):
        reader.feed(b"x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * size
    assert reader.feed(b"x")
    assert reader.pop_response().body == b"x" * size


@pytest.mark.parametrize("rest", [b"", b"{", b"{}" * LIMIT], ids=["no body", "a part", "too much"])
def test_an_error_answer_is_known_without_its_body(rest: bytes) -> None:
    reader = ResponseReader(LIMIT)
    with pytest.raises(BodyTooLarge) if len(rest) > LIMIT else nullcontext():
        reader.feed(b"HTTP/1.1 503 X\r\nretry-after: 7\t\r\ncontent-length: 999\r\n\r\n" + rest)
    assert reader.error_without_body() == RawResponse(503, {"retry-after": "7", "content-length": "999"}, b"")


NO_ERROR_ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 503 X\r\n",
    "a good one": HEAD + b"content-length: 9\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_ERROR_ANSWERS.values(), ids=NO_ERROR_ANSWERS)
def test_what_is_no_error_answer(sent: bytes) -> None:
    reader = ResponseReader(LIMIT)
    if sent:
        reader.feed(sent)
    assert reader.error_without_body() is None
