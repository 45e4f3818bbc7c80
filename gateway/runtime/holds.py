"""Targets that an operator has taken out of use by hand, in all workers of this gateway, until they are readmitted.

The workers share a file in their common folder, and each looks at it once a second. A restart forgets it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

import msgspec
from msgspec import Struct

from gateway.policy.background import BackgroundTask
from gateway.policy.clock import CLOCK, Clock
from gateway.routing.routes import Routes
from gateway.telemetry.metric_store import find_shared_folder

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the file."""

HOLD_SECONDS = 5.0
"""How long one look keeps a target out: longer than the next look takes."""

FORGET_SECONDS = 3600.0
"""How long the file tells of a readmission: every worker has long seen it."""

MAX_HELD = 1000
"""Targets that can be held at once."""


class Holds(Struct, frozen=True):
    """What the file says.

    Attributes:
        held: targets that are out of use.
        readmitted: when targets were last readmitted, in seconds since the epoch.
    """

    held: frozenset[str] = frozenset()
    readmitted: dict[str, float] = {}


class HeldTargets(BackgroundTask):
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
        self._own = Holds()
        self._seen = dict(self._read().readmitted)

    @property
    def paths(self) -> list[str]:
        """Their `provider/model`, as far as this worker knows by now."""
        return sorted(self._held)

    def eject(self, path: str) -> None:
        """Take a target out of use. Raises ValueError for one too many."""
        with self._locked():
            state = self._read()
            if len(state.held | {path}) > MAX_HELD:
                raise ValueError(f"no more than {MAX_HELD} targets can be held")
            self._write(Holds(state.held | {path}, state.readmitted))
        self.apply()

    def readmit(self, path: str) -> None:
        """Let a target be used again in all workers, also one that its breaker has ejected."""
        with self._locked():
            state, now = self._read(), time()
            recent = {name: at for name, at in state.readmitted.items() if at > now - FORGET_SECONDS}
            self._write(Holds(state.held - {path}, {**recent, path: now}))
        self.apply()

    def apply(self) -> None:
        """Hold what the file says, and readmit what was readmitted since the last look."""
        state, now = self._read(), self._clock.now()
        breakers = self._routes().breakers()
        for path in state.held & breakers.keys():
            for breaker in breakers[path]:
                breaker.hold(now, HOLD_SECONDS)
        for path, at in state.readmitted.items():
            # Not the later time: a clock may be set back.
            if at != self._seen.get(path) and path in breakers and path not in state.held:
                for breaker in breakers[path]:
                    breaker.readmit(now)
        self._seen = dict(state.readmitted)
        self._held = state.held

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

    def _read(self) -> Holds:
        if self._file is None:
            return self._own
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Holds)
        except (OSError, msgspec.DecodeError):  # Nobody has held any yet.
            return Holds()

    def _write(self, state: Holds) -> None:
        if self._file is None:
            self._own = state
            return
        part = self._file.with_suffix(f".{os.getpid()}")
        part.write_bytes(msgspec.json.encode(state))
        part.replace(self._file)  # So that no worker reads half of it.

    async def _run(self) -> None:
        while True:
            try:
                self.apply()
            except Exception:  # Whatever is wrong with the file now may be right the next time.
                logger.exception("the targets that are held by hand could not be read")
            await self._clock.sleep(POLL_SECONDS)
