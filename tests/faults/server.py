"""A loopback upstream with one path per fault. It speaks raw sockets, since most faults are not HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

Writer = asyncio.StreamWriter
GOOD = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}], "model": "m"}
STATUSES = (400, 401, 402, 403, 404, 413, 422, 500, 502, 503, 504, 529)


def results(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {"results": [{"index": index, "relevance_score": score} for index, score in pairs]}


def answer(body: bytes, status: int = 200, **headers: str) -> bytes:
    given = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def of(value: Any, status: int = 200, **headers: str) -> bytes:
    return answer(json.dumps(value).encode(), status, **headers)


def in_a_second() -> str:
    return formatdate(time.time() + 1, usegmt=True)


def bomb() -> bytes:
    return gzip.compress(b" " * 200_000_000, compresslevel=9)


_BOMB = bomb()


def in_members() -> bytes:
    whole = json.dumps(GOOD).encode()
    return gzip.compress(whole[:10]) + gzip.compress(whole[10:])


def until_close(coding: str) -> bytes:
    return f"HTTP/1.1 200 X\r\ntransfer-encoding: {coding}\r\n\r\n".encode() + json.dumps(GOOD).encode()


ANSWERS: dict[str, Callable[[], bytes]] = {
    "good": lambda: of(GOOD),
    **{str(status): (lambda status=status: of({"detail": "no"}, status)) for status in STATUSES},  # type: ignore[misc]
    "429": lambda: of({"detail": "slow down"}, 429),
    "429 seconds": lambda: of({"detail": "slow down"}, 429, retry_after="7"),
    "429 milliseconds": lambda: of({"detail": "slow down"}, 429, retry_after_ms="7000"),
    "429 date": lambda: of({"detail": "slow down"}, 429, retry_after=formatdate(time.time() + 8, usegmt=True)),
    "429 beyond the deadline": lambda: of({"detail": "slow down"}, 429, retry_after="3.5"),
    "429 for a year": lambda: of({"detail": "slow down"}, 429, retry_after="31536000"),
    "429 reset as a duration": lambda: of({"detail": "slow down"}, 429, x_ratelimit_reset="0m7s"),
    "429 reset in milliseconds": lambda: of(
        {"detail": "slow down"}, 429, x_ratelimit_reset=str(int(time.time() * 1000) + 7900)
    ),
    "500 with a routine reset": lambda: of({"detail": "no"}, 500, x_ratelimit_reset="86400"),
    "503 retry-after": lambda: of({"detail": "later"}, 503, retry_after="60"),
    "empty body": lambda: answer(b""),
    "html": lambda: answer(b"<html>It works!</html>", content_type="text/html"),
    "truncated json": lambda: answer(json.dumps(GOOD).encode()[:-9]),
    "wrong content type": lambda: of(GOOD, content_type="text/plain"),
    "content-length too long": lambda: answer(json.dumps(GOOD).encode(), content_length="5000"),
    "content-length too short": lambda: answer(json.dumps(GOOD).encode(), content_length="20"),
    "not http": lambda: b"SSH-2.0-OpenSSH_9.9\r\n",
    "redirect": lambda: of({}, 307, location="/good"),
    "gzip bomb": lambda: answer(_BOMB, content_encoding="gzip"),
    "broken gzip": lambda: answer(b"not gzip at all", content_encoding="gzip"),
    "brotli": lambda: answer(b"\x0b\x00\x80{}\x03", content_encoding="br"),
    "gzip in members, with a space": lambda: answer(in_members(), content_encoding="gzip "),
    "429 in brotli": lambda: answer(b"\x0b\x00\x80{}\x03", 429, content_encoding="br", retry_after="7"),
    "503 in broken gzip": lambda: answer(b"later", 503, content_encoding="gzip", retry_after="7"),
    "503 that breaks off": lambda: answer(b"later", 503, content_length="500", retry_after="7"),
    "identity until close": lambda: until_close("identity"),
    "index out of range": lambda: of(results((0, 0.5), (2, 0.4))),
    "index negative": lambda: of(results((0, 0.5), (-1, 0.4))),
    "index twice": lambda: of(results((0, 0.5), (0, 0.4))),
    "index missing": lambda: of({"results": [{"relevance_score": 0.5}]}),
    "score nan": lambda: answer(b'{"results":[{"index":0,"relevance_score":NaN},{"index":1,"relevance_score":1}]}'),
    "score infinite": lambda: answer(b'{"results":[{"index":0,"relevance_score":1e999}]}'),
    "score missing": lambda: of({"results": [{"index": 0}, {"index": 1}]}),
    "score null": lambda: of(results((0, None), (1, None))),
    "score text": lambda: of(results((0, "high"), (1, "low"))),
    "results null": lambda: of({"results": None}),
    "results missing": lambda: of({}),
    "results empty": lambda: of({"results": []}),
    "too few results": lambda: of(results((1, 0.9))),
    "another model's name": lambda: of({**GOOD, "model": "somebody-else"}),
}
"""What is sent, by mode. The modes below do more than send."""


async def hang(writer: Writer) -> None:
    await asyncio.sleep(30)


async def reset(writer: Writer) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_in_the_body(writer: Writer) -> None:
    whole = of(GOOD)
    writer.write(whole[: len(whole) - 20])
    await writer.drain()
    await asyncio.sleep(0.02)
    await reset(writer)


async def close_in_the_body(writer: Writer) -> None:
    whole = of(GOOD)
    writer.write(whole[: len(whole) - 20])
    await writer.drain()


async def drip(writer: Writer) -> None:
    for byte in of(GOOD):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def huge(writer: Writer) -> None:
    writer.write(answer(b"", content_length=str(100_000_000)))
    for _ in range(1000):
        writer.write(b" " * 100_000)
        await writer.drain()


async def endless(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(1000):
        writer.write(b"186a0\r\n" + b" " * 100_000 + b"\r\n")
        await writer.drain()


async def repeat(writer: Writer, start: bytes, again: bytes) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n" + start)
    for _ in range(1000):
        writer.write(again * (100_000 // len(again)))
        await writer.drain()


async def tiny_chunks(writer: Writer) -> None:
    await repeat(writer, b"", b"2\r\n  \r\n")


async def endless_trailer(writer: Writer) -> None:
    await repeat(writer, b"2\r\n{}\r\n0\r\nx: ", b"y")


async def endless_extension(writer: Writer) -> None:
    await repeat(writer, b"2;", b"y")


async def endless_interim(writer: Writer) -> None:
    for _ in range(1000):
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2000)
        await writer.drain()


ACTIONS: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "accept and hang": hang,
    "reset": reset,
    "reset in the body": reset_in_the_body,
    "close in the body": close_in_the_body,
    "slow drip": drip,
    "100 MB answer": huge,
    "endless answer": endless,
    "endless chunks of two bytes": tiny_chunks,
    "endless trailer": endless_trailer,
    "endless chunk extension": endless_extension,
    "endless interim answers": endless_interim,
}

ELSEWHERE = ("connection refused", "dns failure")
"""Faults that need no server."""

MODES = [*(mode for mode in ANSWERS if mode != "good"), *ACTIONS, *ELSEWHERE]


class FaultServer:
    """Serves on a thread of its own.

    Attributes:
        asked: requests by path.
        gone: callers that hung up before the fault was over, by path.
        plays: which mode a path has at the moment, where that is not its own name.
    """

    def __init__(self) -> None:
        self.plays: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def start(self) -> FaultServer:
        self._thread.start()
        self._ready.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def url(self, mode: str) -> str:
        if mode == "connection refused":
            return "http://127.0.0.1:1/v1/rerank"
        if mode == "dns failure":
            return "http://no-such-host.invalid/v1/rerank"
        return f"http://127.0.0.1:{self.port}/{mode.replace(' ', '_')}/v1/rerank"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            path = head.split()[1].split("/")[1].replace("_", " ")
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
            await reader.readexactly(length)
            self.asked[path] = self.asked.get(path, 0) + 1
            played = self.plays.get(path, path).lower()
            mode = next((mode for mode in [*ANSWERS, *ACTIONS] if mode.lower() == played), "")
            if mode in ACTIONS:
                action = asyncio.create_task(ACTIONS[mode](writer))
                left = asyncio.create_task(reader.read(1))
                await asyncio.wait({action, left}, return_when=asyncio.FIRST_COMPLETED)
                self.gone[path] = self.gone.get(path, 0) + (left.done() and not action.done())
                for task in (action, left):
                    task.cancel()
                await asyncio.gather(action, left, return_exceptions=True)
            else:
                writer.write(ANSWERS[mode]())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
