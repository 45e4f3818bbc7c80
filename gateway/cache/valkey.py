"""Entries in a Valkey or Redis server, for all processes. While it is away there are none, and requests go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from gateway.access.valkey_client import PREFIX, ValkeyClient
from gateway.cache.entries import Entry
from gateway.errors import StoreDown

CONNECTIONS = 16
KEYS_PER_CALL = 250
"""A server works on one command at a time, and so does our event loop: others wait meanwhile."""

_decode = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.Encoder().encode


class ValkeyEntries:
    """See EntryStore.

    Args:
        url, timeout: as in ValkeyClient.
        ttl: seconds for which an entry is used.

    Attributes:
        failures: see EntryStore.
    """

    is_local = False
    memory_bytes = 0

    def __init__(self, url: str, timeout: float, ttl: float) -> None:
        self.failures = 0
        self._timeout = timeout
        self._client = ValkeyClient(url, timeout, CONNECTIONS, self._count_failure, what="cached scores")
        self._milliseconds = max(1, round(ttl * 1000))

    async def find(self, question: bytes, keys: Sequence[bytes], seconds: float | None = None) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        # What is not known, or not in time, is asked for; the client has counted a failure.
        with suppress(StoreDown, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._find(question, keys, found)
        return found

    async def _find(self, question: bytes, keys: Sequence[bytes], found: dict[bytes, Entry]) -> None:
        end = monotonic() + self._timeout
        for start in range(0, len(keys), KEYS_PER_CALL):
            some = keys[start : start + KEYS_PER_CALL]
            names = [_name(question, key) for key in some]
            texts: list[str | None] = await self._client.ask(partial(self._client.redis.mget, names))
            pairs = zip(some, map(_entry, texts), strict=True)
            found |= {key: entry for key, entry in pairs if entry is not None}
            if monotonic() > end:
                return

    def keep(self, question: bytes, entries: Mapping[bytes, Entry]) -> None:
        self._client.start(self._write(question, entries))

    async def aclose(self) -> None:
        await self._client.aclose()

    def _count_failure(self) -> None:
        self.failures += 1

    async def _write(self, question: bytes, entries: Mapping[bytes, Entry]) -> None:
        with suppress(StoreDown):  # What is not kept is asked for again.
            keys = list(entries)
            for start in range(0, len(keys), KEYS_PER_CALL):
                some = keys[start : start + KEYS_PER_CALL]
                items = [(_name(question, key), _encode(entries[key])) for key in some]
                await self._client.ask(partial(self._write_some, items))

    async def _write_some(self, items: Sequence[tuple[str, bytes]]) -> Any:
        pipeline = self._client.redis.pipeline(transaction=False)
        for name, text in items:
            pipeline.set(name, text, px=self._milliseconds)
        return await pipeline.execute()


def _name(question: bytes, key: bytes) -> str:
    return f"{PREFIX}score:{question.hex()}:{key.hex()}"


def _entry(text: str | None) -> Entry | None:
    """The entry; None for what another version, or somebody else, has written."""
    if text is None:
        return None
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
