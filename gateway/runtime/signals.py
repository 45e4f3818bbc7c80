"""What signals do: SIGTERM drains, then stops; SIGINT stops without draining; a second one of either stops at once;
SIGHUP reloads the configuration."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from gateway.runtime.service import Service
from gateway.telemetry import lifecycle
from gateway.telemetry.metric_store import find_shared_folder


@contextmanager
def handle(service: Service, drain: float, reload: Callable[[], object] | None) -> Iterator[None]:
    """Handle signals before the server does, until the end of the block.

    Does nothing outside the main thread, or where nobody else handles SIGTERM: in a test or an embedding application.

    Args:
        service: its `draining` is set at the first SIGTERM, so that /readyz fails and responses close connections.
        drain: seconds from then until the server begins to stop: the time that load balancers need to notice.
        reload: called on the event loop at each SIGHUP; None leaves that signal alone.
    """
    server_stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(server_stop):
        yield
        return
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous_handlers = {number: signal.getsignal(number) for number in handled}
    first: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        first.append(number)
        if service.draining:
            server_stop(first[0], frame)
            # uvicorn stops without waiting for requests only at SIGINT, and only if it is stopping already.
            server_stop(signal.SIGINT, frame)
            return
        service.draining = True
        loop.call_soon_threadsafe(_tell_stopping, service)
        if number == signal.SIGINT:
            server_stop(number, frame)
            return
        # A signal handler runs between any two instructions: only call_soon_threadsafe may touch the loop from here.
        loop.call_soon_threadsafe(loop.call_later, drain, server_stop, number, None)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if reload is not None:
        signal.signal(signal.SIGHUP, lambda number, frame: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def reload_all_workers(reload: Callable[[], object]) -> None:
    """Reload here; in a worker of ours everywhere, since its supervisor passes SIGHUP on to all.

    A worker of another server has no folder in common with its siblings, and one whose supervisor has died has another
    parent by now: neither signals anybody.
    """
    supervisor = multiprocessing.parent_process()
    is_ours = find_shared_folder(os.environ) is not None
    if is_ours and supervisor is not None and supervisor.pid is not None and supervisor.pid == os.getppid():
        os.kill(supervisor.pid, signal.SIGHUP)
    else:
        reload()


def _tell_stopping(service: Service) -> None:
    count = service.routes.in_flight
    message = f"stopping, {count} request{'' if count == 1 else 's'} under way"
    lifecycle.tell("stopping", message, under_way=count, pid=os.getpid())
