"""Time and chance for policies, as one value that tests replace."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct


class Clock(Struct, frozen=True):
    """Gives policies the time and random numbers.

    Attributes:
        now: seconds of a clock that never goes back; `Call.deadline` is on the same clock.
        sleep: waits for so many seconds.
        chance: a number from 0 up to, but not including, 1.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


CLOCK = Clock()
"""The real clock."""
