"""The processes of a server: one alone, or workers under a supervisor."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.queues
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.config.root import Config
from gateway.server import app as application
from gateway.telemetry import logs
from providers.errors import RerankError

EXIT_NOT_LOADED = 3
"""The exit status when a local model cannot be loaded."""

ACCEPT_DRAIN_SECONDS = 0.25
"""Seconds in which connections that are open may still send a request after the listener has closed."""


WORKER_HANG_TIMEOUT = 60
"""Seconds a worker may be unresponsive, for example while it imports torch, before it is replaced."""


class Server(uvicorn.Server):
    """A uvicorn server whose stop by a signal is a success, and which stops when a local model cannot be loaded."""

    exit_status = 0

    def loaded(self, error: RerankError | None) -> None:
        """Called when the local models are loaded, or one of them cannot be."""
        if error is not None:
            print(f"error: {error.message}", file=sys.stderr)
            self.exit_status = EXIT_NOT_LOADED
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; at a second signal at once. uvicorn would raise the signal again after it has stopped."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop without losing whom the kernel has already let in: uvicorn alone would reset those connections."""
        last = [connection for bound in sockets or () for connection in _pending_connections(bound)]
        for listener in self.servers:
            listener.close()
        for bound in sockets or ():
            bound.close()
        for connection in last:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        if not self.force_exit:
            await asyncio.sleep(ACCEPT_DRAIN_SECONDS)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        config, state = self.config, self.lifespan.state
        return config.http_protocol_class(config=config, server_state=self.server_state, app_state=state)  # type: ignore[call-arg]  # as uvicorn makes it


def _pending_connections(bound: socket.socket) -> Iterator[socket.socket]:
    """The connections that nobody has accepted yet."""
    with suppress(OSError):
        while True:
            yield bound.accept()[0]


class WorkerProcess(Process):
    """A worker that stops as `Server` does. Until it listens to SIGHUP by itself it ignores it."""

    @property
    def server(self) -> uvicorn.Server:
        """Made in the worker."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    def start(self) -> None:
        """Start the process, which inherits what is ignored."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            super().start()
        finally:
            signal.signal(signal.SIGHUP, before)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with workers of ours. SIGHUP goes to them, and they reload without a restart."""

    def init_processes(self) -> None:
        """Start every worker."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died or hang; stop where one cannot even start."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.is_alive(timeout=WORKER_HANG_TIMEOUT):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
            else:
                print(f"worker {process.pid} died and is replaced", file=sys.stderr, flush=True)
                self.processes[place] = self._started()

    def _started(self) -> Process:
        process = WorkerProcess(self.config, self.sockets)
        process.start()
        return process

    def terminate_all(self) -> None:
        """Let go of the sockets, too: whom the workers accept no more must be refused, not kept waiting."""
        super().terminate_all()
        for bound in self.sockets:
            bound.close()

    def handle_hup(self) -> None:
        """Pass the signal on."""
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)


class Worker:
    """Makes the application in each of several processes, and tells the first one how it went."""

    def __init__(self, config: Config, told: multiprocessing.queues.SimpleQueue[str | None], path: str | None) -> None:
        self.config = config
        self.path = path
        self.told = told

    def __call__(self) -> Litestar:
        logs.configure(self.config.telemetry.logs)
        return application.create(self.config, lambda error: self.told.put(error.message if error else None), self.path)
