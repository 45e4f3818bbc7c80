"""Time and chance as policies see them, so that tests hold both in their hands."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct


class Clock(Struct, frozen=True):
    """Where policies take time and chance from.

    Attributes:
        now: seconds that only grow; the same origin as `Call.deadline`.
        sleep: waits for so many seconds.
        chance: a number from 0 up to, but not including, 1.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


CLOCK = Clock()
"""The real one."""
