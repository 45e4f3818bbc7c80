"""How a process of ours ends: with the right status, soon, and without Python's own end.

At its own end Python kills daemon threads wherever they are. One that is in the middle of torch's C++, loading a model,
is unwound through code that may not throw: `terminate called without an active exception`, and the process aborts. So
every process that may hold such a thread ends by `leave`. This module imports next to nothing: it is there
before all else.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

STARTED = time.monotonic()
"""When this process began, in seconds of `time.monotonic()`: nothing of ours is imported earlier."""

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

EXIT_TERMINATED = 143
"""128 + SIGTERM."""

_SHOW_CURSOR = b"\x1b[?25h"


def catch_signals(status_at_sigterm: int) -> None:
    """Ctrl-C ends the process with EXIT_INTERRUPTED, and SIGTERM with that status, until others handle them.

    Python's own way for Ctrl-C, an exception at any instruction, leaves tracebacks, and libraries swallow it. For
    SIGTERM the first process of a container has no default action.
    """
    signal.signal(signal.SIGINT, _leave_with(EXIT_INTERRUPTED))
    signal.signal(signal.SIGTERM, _leave_with(status_at_sigterm))


def leave(status: int) -> NoReturn:
    """End this process as Python would, but without waiting for threads and without killing them one by one."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def leave_at_once(status: int) -> NoReturn:
    """End this process now. Safe in a signal handler: it waits for no lock, no thread and no reader of our output."""
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # A progress bar hides it.
    os._exit(status)


def _leave_with(status: int) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        leave_at_once(status)

    return handle
