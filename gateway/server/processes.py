"""uvicorn's server and supervisor, adapted: nothing accepted is lost at a stop, and a failed model ends the gateway."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.queues
import os
import signal
import socket
import sys
import threading
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
"""Seconds for which open connections may still send a request after the listeners have closed."""

WORKER_HANG_TIMEOUT = 60
"""Seconds for which a worker may be unresponsive, for example while it imports torch, before it is replaced."""

LoadResults = multiprocessing.queues.SimpleQueue[str | None]
"""Messages from other processes: None from each worker that has loaded its models, an error message from any process
that cannot load one."""


class Server(uvicorn.Server):
    """A uvicorn server that exits with 0 after a signal, and stops when a local model cannot be loaded.

    Attributes:
        exit_status: for the process, once the server has stopped.
    """

    exit_status = 0

    def on_loaded(self, error: RerankError | None) -> None:
        """Take note that the local models are loaded, or that one of them cannot be: then report it and stop."""
        if error is not None:
            print(f"error: {error.message}", file=sys.stderr)
            self.exit_status = EXIT_NOT_LOADED
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully at a signal, and at once at SIGINT while stopping.

        uvicorn would raise the signal again after it has stopped, and the process would end with that status.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, but serve the connections that the kernel has already accepted.

        The kernel completes handshakes up to the listen backlog before the process calls accept(). When a listener is
        closed, Linux resets those connections, and uvicorn alone would lose their requests.
        """
        pending = [connection for listener in sockets or () for connection in _pending_connections(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in pending:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(self._create_protocol, connection, ssl=self.config.ssl)
        if not self.force_exit:
            # uvicorn closes idle connections at once; leave these the time to send the request they were opened for.
            await asyncio.sleep(ACCEPT_DRAIN_SECONDS)
        await super().shutdown(sockets)

    def _create_protocol(self) -> asyncio.Protocol:
        config, state = self.config, self.lifespan.state
        return config.http_protocol_class(config=config, server_state=self.server_state, app_state=state)  # type: ignore[call-arg]  # as uvicorn calls it


def _pending_connections(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections in the backlog. The listener is non-blocking, so an OSError says that it is empty."""
    with suppress(OSError):
        while True:
            yield listener.accept()[0]


class WorkerProcess(Process):
    """A worker process that runs our `Server`, and that SIGHUP cannot end while it starts."""

    @property
    def server(self) -> uvicorn.Server:
        """The server. It is created in the worker itself, because it cannot be pickled."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    def start(self) -> None:
        """Start the process with SIGHUP ignored, which a child inherits, until it sets a handler of its own."""
        previous_handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            super().start()
        finally:
            signal.signal(signal.SIGHUP, previous_handler)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with our workers. At SIGHUP they reload their configuration; uvicorn would restart them.

    Args:
        config: its `app` is a factory, which is called in each worker.
        sockets: the listeners, which the workers share.
        load_results: what the workers and the engine process report.
        ready_message: printed when all workers have loaded their models.

    Attributes:
        startup_error: why a local model cannot be loaded, once a process has reported that; the supervisor then stops.
    """

    startup_error: str | None = None

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], load_results: LoadResults, ready_message: str
    ) -> None:
        super().__init__(config, sockets=sockets)
        self._load_results = load_results
        self._ready_message = ready_message

    def run(self) -> None:
        """Run until a signal or until a model cannot be loaded."""
        # A daemon, because the supervisor may stop before all workers have reported.
        threading.Thread(target=self._await_workers, daemon=True).start()
        super().run()

    def init_processes(self) -> None:
        """Start all workers."""
        self.processes = [self._start_worker() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace each worker that has died or hangs. Stop if one could not even start."""
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.is_alive(timeout=WORKER_HANG_TIMEOUT):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
            else:
                print(f"worker {process.pid} died and is replaced", file=sys.stderr, flush=True)
                self.processes[index] = self._start_worker()

    def terminate_all(self) -> None:
        """Stop the workers and close our own copies of the listeners.

        While any copy is open, the kernel goes on to accept connections, which nobody would serve.
        """
        super().terminate_all()
        for listener in self.sockets:
            listener.close()

    def handle_hup(self) -> None:
        """Send SIGHUP on to the workers."""
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)

    def _await_workers(self) -> None:
        for _ in range(self.processes_num):
            if error := self._load_results.get():
                self.startup_error = error
                self.should_exit.set()
                return
        print(self._ready_message, flush=True)

    def _start_worker(self) -> Process:
        process = WorkerProcess(self.config, self.sockets)
        process.start()
        return process


class WorkerApp:
    """Creates the application inside a worker process. uvicorn pickles it and calls it there.

    Args:
        config: of the gateway.
        path: the configuration file, which each worker watches; None without one.
        load_results: hears how loading the local models went.
    """

    def __init__(self, config: Config, path: str | None, load_results: LoadResults) -> None:
        self._config = config
        self._path = path
        self._load_results = load_results

    def __call__(self) -> Litestar:
        """The application."""
        logs.configure(self._config.telemetry.logs)
        return application.create(self._config, self._path, self._report)

    def _report(self, error: RerankError | None) -> None:
        self._load_results.put(error.message if error else None)
