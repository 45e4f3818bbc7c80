"""What signals mean: SIGTERM drains, then stops; a second one forces. SIGHUP reloads the configuration."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.runtime.service import Service


@contextmanager
def handled(service: Service, drain: float, reload: Callable[[], object] | None) -> Iterator[None]:
    """While it lasts, signals reach the service first.

    Args:
        service: is marked as draining on the first SIGTERM; the server itself hears of it `drain` seconds later.
        drain: seconds.
        reload: called on SIGHUP; None leaves that signal alone.
    """
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        yield  # No server of ours listens to signals here: a test, or an embedding application.
        return
    loop = asyncio.get_running_loop()
    before = {signal.SIGTERM: stop, signal.SIGHUP: signal.getsignal(signal.SIGHUP)}

    def terminate(number: int, frame: Any) -> None:
        if service.draining:
            stop(number, frame)
            stop(signal.SIGINT, frame)  # uvicorn: the second signal forces
            return
        service.draining = True
        loop.call_soon_threadsafe(loop.call_later, drain, stop, number, None)

    signal.signal(signal.SIGTERM, terminate)
    if reload is not None:
        signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
