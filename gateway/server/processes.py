"""uvicorn's server and supervisor, adapted: nothing accepted is lost at a stop, a second signal does not wait, and a
failed model ends the gateway."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import multiprocessing.queues
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.config.root import Config
from gateway.exits import EXIT_INTERRUPTED, leave, leave_at_once
from gateway.server import app as application
from gateway.telemetry import lifecycle, logs
from providers.errors import RerankError

logger = logging.getLogger(__name__)

EXIT_NOT_LOADED = 3
"""The exit status when a local model cannot be loaded."""

ACCEPT_DRAIN_SECONDS = 0.25
"""Seconds for which open connections may still send a request after the listeners have closed."""

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
"""What a worker hears from the supervisor alone."""

SIGNAL_POLL_SECONDS = 0.1
"""Seconds after which a supervisor acts on a signal at the latest."""

HEALTH_CHECK_INTERVAL = 0.5
"""Seconds between two looks at the workers."""

WORKER_HANG_TIMEOUT = 60
"""Seconds for which a worker may be unresponsive, for example while it imports torch, before it is replaced."""

LoadResults = multiprocessing.queues.SimpleQueue[str | None]
"""Messages from other processes: None from each worker that has loaded its models, an error message from any process
that cannot load one."""

OnReady = Callable[[], None]
"""Called once, when requests can be served."""


class Server(uvicorn.Server):
    """A uvicorn server that exits with 0 after SIGTERM, and stops when a local model cannot be loaded.

    Attributes:
        on_ready: called once, when connections are accepted and the local models are loaded.
        exit_status: for the process, once the server has stopped: 0, EXIT_INTERRUPTED or EXIT_NOT_LOADED.
    """

    exit_status = 0
    on_ready: OnReady | None = None
    _has_loaded = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, and accept connections."""
        await super().startup(sockets)
        self._tell_if_ready()

    def on_loaded(self, error: RerankError | None) -> None:
        """Take note that the local models are loaded, or that one of them cannot be: then report it and stop."""
        if error is not None:
            lifecycle.tell_error(error.message)
            self.exit_status = EXIT_NOT_LOADED
            self.should_exit = True
            return
        self._has_loaded = True
        self._tell_if_ready()

    def _tell_if_ready(self) -> None:
        if self.started and self._has_loaded and self.on_ready is not None:
            self.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully at a signal; end the process at a further one, or while nothing has been accepted yet.

        uvicorn would raise the signal again after it has stopped, and the process would end with that status.
        """
        if self.should_exit:
            leave_at_once(self.exit_status)
        self.exit_status = EXIT_INTERRUPTED if sig == signal.SIGINT else 0
        if not self.started:
            leave_at_once(self.exit_status)
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
        if pending or self.server_state.connections:
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
    """A worker process that runs our `Server` and stops when the supervisor says so, or has died.

    Signals from elsewhere do not stop it: systemd, `tini -g` and Ctrl-C signal the supervisor and the workers alike,
    and a worker that heard both would take the second for the wish to stop at once. So SIGTERM and SIGINT are blocked,
    and the supervisor sends their numbers through a pipe, whose end-of-file means that it was killed.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        self._supervisor_end, self._worker_end = multiprocessing.get_context("spawn").Pipe()
        self._listens = False
        super().__init__(config, sockets)

    def __getstate__(self) -> dict[str, Any]:
        """What the worker gets: not the end of the pipe that is the supervisor's alone."""
        return {name: value for name, value in vars(self).items() if name != "_supervisor_end"}

    @property
    def server(self) -> uvicorn.Server:
        """The server. It is created in the worker itself, because it cannot be pickled."""
        if self._server is None:
            self._server = Server(self.config)
        return self._server

    def start(self) -> None:
        """Start the process. It inherits that SIGHUP is ignored, until it handles that itself, and what is blocked."""
        previous_handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
            signal.signal(signal.SIGHUP, previous_handler)
        self._worker_end.close()

    def target(self, sockets: list[socket.socket] | None = None) -> NoReturn:
        """Serve: the main function of the worker."""
        threading.Thread(target=_stop_when_told, args=(self._worker_end, self.server), daemon=True).start()
        self._worker_end.send(None)
        try:
            super().target(sockets)
        except SystemExit as end:
            leave(STARTUP_FAILURE if end.code else 0)
        leave(0)

    def send_stop(self, number: int) -> None:
        """Have the worker stop, as that signal would stop a single process.

        One that still imports what it needs cannot hear us for seconds. It has accepted nothing yet, so it is killed.
        """
        with suppress(OSError, EOFError):  # It has ended already.
            if not self._listens and self._supervisor_end.poll():
                self._supervisor_end.recv()
                self._listens = True
            if not self._listens:
                return self.process.kill()
            self._supervisor_end.send(number)
        return None

    def terminate(self) -> None:
        """Have the worker stop gracefully."""
        self.send_stop(signal.SIGTERM)


def _stop_when_told(reader: Connection, server: uvicorn.Server) -> None:
    """Stop the server as the supervisor says; without draining if that has died, so that the port is free soon."""
    with suppress(EOFError, OSError):
        while True:
            _stop(server, reader.recv())
    if not server.should_exit:
        server.handle_exit(signal.SIGINT, None)


def _stop(server: uvicorn.Server, number: int) -> None:
    """Do what that signal does, from another thread: its handlers only set flags, or are told through the loop.

    The application has one for both signals. Until it has, that of SIGTERM is none, and that of SIGINT is Python's.
    """
    handler = signal.getsignal(signal.SIGTERM)
    (handler if callable(handler) else server.handle_exit)(number, None)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with our workers. At SIGHUP they reload their configuration; uvicorn would restart them.

    Args:
        config: its `app` is a factory, which is called in each worker.
        sockets: the listeners, which the workers share.
        load_results: what the workers and the engine process report.
        on_ready: called when all workers have loaded their models.

    Attributes:
        startup_error: why a local model cannot be loaded, once a process has reported that; the supervisor then stops.
    """

    startup_error: str | None = None
    _stop_signal: int = signal.SIGTERM

    @property
    def exit_status(self) -> int:
        """For the process, once the supervisor has stopped."""
        if self.startup_error is not None:
            return EXIT_NOT_LOADED
        return EXIT_INTERRUPTED if self._stop_signal == signal.SIGINT else 0

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], load_results: LoadResults, on_ready: OnReady
    ) -> None:
        super().__init__(config, sockets=sockets)
        self._load_results = load_results
        self._on_ready = on_ready

    def run(self) -> None:
        """Run until a signal or until a model cannot be loaded."""
        # A daemon, because the supervisor may stop before all workers have reported.
        threading.Thread(target=self._await_workers, daemon=True).start()
        self.init_processes()
        next_check = 0.0
        while not self.should_exit.wait(SIGNAL_POLL_SECONDS):
            self.handle_signals()
            if monotonic() >= next_check and not self.should_exit.is_set():
                self.keep_subprocess_alive()
                next_check = monotonic() + HEALTH_CHECK_INTERVAL
        self.terminate_all()
        self.join_all()

    def init_processes(self) -> None:
        """Start all workers, unless a signal says otherwise meanwhile."""
        for _ in range(self.processes_num):
            self.handle_signals()
            if not self.should_exit.is_set():
                self.processes.append(self._start_worker())

    def keep_subprocess_alive(self) -> None:
        """Replace each worker that has died or hangs. Stop if one could not even start."""
        for index, process in enumerate(self.processes):
            if self._lives(process):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
            else:
                logger.error("worker %s died and is replaced", process.pid)
                self.processes[index] = self._start_worker()

    def _lives(self, process: Process) -> bool:
        """Whether the worker answers, or need not any more. While it is waited for, signals are heard."""
        give_up = monotonic() + WORKER_HANG_TIMEOUT
        if not process.process.is_alive():
            return self.should_exit.is_set()
        with suppress(OSError, EOFError):
            process.parent_conn.send(b"ping")
            while not self.should_exit.is_set() and monotonic() < give_up:
                if process.parent_conn.poll(SIGNAL_POLL_SECONDS):
                    process.parent_conn.recv()
                    return True
                self.handle_signals()
        return self.should_exit.is_set()

    def terminate_all(self) -> None:
        """Stop the workers and close our own copies of the listeners.

        While any copy is open, the kernel goes on to accept connections, which nobody would serve.
        """
        for process in self._workers():
            process.send_stop(self._stop_signal)
        for listener in self.sockets:
            listener.close()

    def join_all(self) -> None:
        """Wait until all workers have ended, and send further signals on to them."""
        for process in self._workers():
            while process.exitcode is None:
                process.process.join(SIGNAL_POLL_SECONDS)
                self.handle_signals()

    def handle_int(self) -> None:
        """Stop without draining; stop at once if stopping already."""
        self._handle_stop(signal.SIGINT)

    def handle_term(self) -> None:
        """Drain, then stop; stop at once if stopping already."""
        self._handle_stop(signal.SIGTERM)

    def _handle_stop(self, number: int) -> None:
        if not self.should_exit.is_set():
            lifecycle.tell("stopping", f"stopping {len(self.processes)} workers", pid=os.getpid())
            self._stop_signal = number
            self.should_exit.set()
            return
        for process in self._workers():
            process.send_stop(number)

    def _workers(self) -> list[WorkerProcess]:
        return [process for process in self.processes if isinstance(process, WorkerProcess)]

    def handle_ttin(self) -> None:
        """Start one more worker. uvicorn would start one of its own."""
        self.processes_num += 1
        self.processes.append(self._start_worker())

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
        self._on_ready()
        while True:  # An engine process or worker that was started again.
            if error := self._load_results.get():
                logger.error("%s", error)

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
