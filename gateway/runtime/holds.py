"""Targets that an operator has taken out of use by hand, in all workers of this gateway, until they are readmitted.

The workers share a file in their common folder, and each looks at it once a second. A restart forgets it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.policy.clock import CLOCK, Clock
from gateway.routing.routes import Routes
from gateway.telemetry.metric_store import find_shared_folder

POLL_SECONDS = 1.0
"""Between two looks at the file."""

HOLD_SECONDS = 5.0
"""How long one look keeps a target out: longer than the next look takes."""

MAX_HELD = 1000
"""Targets that can be held at once."""


class HeldTargets:
    """The targets that are held.

    Args:
        routes: gives the routes in force.
        clock: replaced by tests.
    """

    def __init__(self, routes: Callable[[], Routes], clock: Clock = CLOCK) -> None:
        folder = find_shared_folder(os.environ)
        self._routes, self._clock = routes, clock
        self._file: Path | None = None if folder is None else folder / "held-targets.json"
        self._held: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    @property
    def paths(self) -> list[str]:
        """Their `provider/model`, as far as this worker knows by now."""
        return sorted(self._held)

    def start(self) -> None:
        """Begin to look at the file. Needs the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def eject(self, path: str) -> None:
        """Take a target out of use. Raises ValueError for one too many."""
        with self._locked():
            held = self._read() | {path}
            if len(held) > MAX_HELD:
                raise ValueError(f"no more than {MAX_HELD} targets can be held")
            self._write(held)

    def readmit(self, path: str) -> None:
        """Let a target be used again, also one that its breaker has ejected."""
        with self._locked():
            self._write(self._read() - {path})
        breaker = self._routes().breakers().get(path)
        if breaker is not None:
            breaker.record_health_check(self._clock.now(), healthy=True)

    def apply(self) -> None:
        """Do what the file says: hold what is in it, readmit what has gone from it."""
        held, now = self._read(), self._clock.now()
        breakers = self._routes().breakers()
        for path in held:
            if path in breakers:
                breakers[path].hold(now, HOLD_SECONDS)
        for path in self._held - held:
            if path in breakers:
                breakers[path].record_health_check(now, healthy=True)
        self._held = held

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other workers from changing the file meanwhile. Waits for as long as one takes to read and write it."""
        if self._file is None:
            yield
            return
        import fcntl

        with self._file.with_suffix(".lock").open("ab") as file:  # Closing it unlocks it.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> frozenset[str]:
        if self._file is None:
            return self._held
        try:
            return frozenset(msgspec.json.decode(self._file.read_bytes(), type=list[str]))
        except (OSError, msgspec.DecodeError):  # Nobody has held any yet.
            return frozenset()

    def _write(self, held: frozenset[str]) -> None:
        if self._file is not None:
            part = self._file.with_suffix(f".{os.getpid()}")
            part.write_bytes(msgspec.json.encode(sorted(held)))
            part.replace(self._file)  # So that no worker reads half of it.
            self.apply()
            return
        before, self._held = self._held, held
        breakers, now = self._routes().breakers(), self._clock.now()
        for path in held & breakers.keys():
            breakers[path].hold(now, HOLD_SECONDS)
        for path in (before - held) & breakers.keys():
            breakers[path].record_health_check(now, healthy=True)

    async def _run(self) -> None:
        while True:
            self.apply()
            await self._clock.sleep(POLL_SECONDS)
