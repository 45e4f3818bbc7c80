"""Let httpx hear an answer that comes while it is still sending.

A server that refuses a large body answers at once and reads no further. httpx would go on sending to it until a
timeout, or until the connection breaks and takes the answer with it. Here each long write listens as well: what arrives
ends it, by the error upon which httpcore goes on to read the answer.
"""

# ruff: noqa: ASYNC109  # The timeouts are parameters of httpcore's interface.

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

_WRITE_CHUNK_BYTES = 256 * 1024
"""A longer write is made in chunks of this size, and listens meanwhile."""

_READ_BYTES = 64 * 1024


class DuplexBackend(httpcore.AsyncNetworkBackend):
    """httpcore's own way to the network, with streams that listen while they send."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See AsyncNetworkBackend."""
        return _DuplexStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """See AsyncNetworkBackend."""
        await self._backend.sleep(seconds)


class _DuplexStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._early: bytes | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._early is None:
            return await self._stream.read(max_bytes, timeout)
        early, self._early = self._early, None
        return early

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) <= _WRITE_CHUNK_BYTES:
            await self._stream.write(buffer, timeout)
            return
        answer = asyncio.create_task(self._stream.read(_READ_BYTES))
        try:
            rest = memoryview(buffer)
            while rest:
                await self._write_unless(answer, bytes(rest[:_WRITE_CHUNK_BYTES]), timeout)
                rest = rest[_WRITE_CHUNK_BYTES:]
        finally:
            answer.cancel()
            (early,) = await asyncio.gather(answer, return_exceptions=True)
            if isinstance(early, bytes):
                self._early = early

    async def _write_unless(self, answer: asyncio.Task[bytes], chunk: bytes, timeout: float | None) -> None:
        """Write, unless something arrives or the connection breaks first. Raises WriteError then."""
        write = asyncio.create_task(self._stream.write(chunk, timeout))
        try:
            await asyncio.wait([answer, write], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                raise httpcore.WriteError
            await write
        finally:
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _DuplexStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
