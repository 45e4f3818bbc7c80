"""What comes over a connection, cut anywhere, becomes answers or a fault."""

from __future__ import annotations

import pytest

from gateway.http1.response_reader import MAX_HEAD_BYTES, BodyTooLarge, ProtocolError, RawResponse, ResponseReader

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
}


@pytest.mark.parametrize(("data", "ends"), ENDS.values(), ids=ENDS)
def test_whether_the_connections_end_is_the_answers(data: bytes, ends: bool) -> None:
    reader = ResponseReader(LIMIT)
    assert not reader.feed(data)
    assert reader.ends_with_connection() is ends
