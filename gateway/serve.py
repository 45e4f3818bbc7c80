"""Run the server: one uvicorn process per worker, and a word on the terminal when it can be used."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.queues
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway import app as application
from gateway.access.edge import AdminSettings
from gateway.banner import banner
from gateway.config import Config, ServerConfig
from gateway.engine_process import engine
from gateway.protocol import BoundedProtocol
from gateway.telemetry import logs
from gateway.telemetry.cells import shared_folder
from providers.errors import RerankError

EXIT_NOT_LOADED = 3
"""The exit status when a local model cannot be loaded."""

LAST_WORDS = 0.25
"""Seconds in which connections that are open may still send a request after the listener has closed."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

WORKER_SILENCE = 60
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
        last = [connection for bound in sockets or () for connection in _waiting(bound)]
        for listener in self.servers:
            listener.close()
        for bound in sockets or ():
            bound.close()
        for connection in last:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)
        if not self.force_exit:
            await asyncio.sleep(LAST_WORDS)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        config, state = self.config, self.lifespan.state
        return config.http_protocol_class(config=config, server_state=self.server_state, app_state=state)  # type: ignore[call-arg]  # as uvicorn makes it


def _waiting(bound: socket.socket) -> Iterator[socket.socket]:
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
            if self.should_exit.is_set() or process.is_alive(timeout=WORKER_SILENCE):
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


def serve(config: Config, path: str | None = None) -> int:
    """Serve until a signal; `path` is the configuration's file, to be watched. Returns the exit status.

    Raises:
        OSError: saying what to do, if the port cannot be had.
    """
    with ExitStack() as stack:
        places: list[ServerConfig | AdminSettings | None] = [config.server, config.server.admin]
        bound = [stack.enter_context(listening(place)) for place in places if place]
        text = banner(address(bound[0], "https" if config.server.tls else "http"), config)
        serve_here = config.server.workers == 1
        run = one_process if serve_here else several_processes
        return run(config, bound, text, path)


def one_process(config: Config, bound: list[socket.socket], text: str, path: str | None) -> int:
    """Serve in this process; print the text when requests can be served. Returns the exit status."""

    def loaded(error: RerankError | None) -> None:
        server.loaded(error)
        if error is None:
            print(text, flush=True)

    logs.configure(config.telemetry.logs)
    if path is not None:
        # Before the service listens to it, and after, it must not end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = Server(uvicorn.Config(application.create(config, loaded, path), **_tls(config), **_options(config)))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(server.serve(sockets=bound))
    return server.exit_status


def several_processes(config: Config, bound: list[socket.socket], text: str, path: str | None) -> int:
    """Serve in `workers` processes under uvicorn's supervisor; print the text when all of them can serve."""
    logs.configure(config.telemetry.logs)
    told: multiprocessing.queues.SimpleQueue[str | None] = multiprocessing.get_context("spawn").SimpleQueue()
    count = config.server.workers
    worker: Any = Worker(config, told, path)
    options = uvicorn.Config(
        worker,
        factory=True,
        workers=count,
        **_tls(config),
        **_options(config),
    )
    supervisor = Supervisor(options, sockets=bound)
    failures: list[str] = []

    def watch() -> None:
        for _ in range(count):
            if failure := told.get():
                failures.append(failure)
                supervisor.should_exit.set()
                return
        print(text, flush=True)

    threading.Thread(target=watch, daemon=True).start()
    with shared_folder(), engine(config, path, told):
        supervisor.run()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return EXIT_NOT_LOADED if failures else 0


def listening(server: ServerConfig | AdminSettings) -> socket.socket:
    """A bound socket. Raises OSError, saying what to do, if the address cannot be had."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host, server.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(
            f"cannot listen on {server.host}:{server.port}: {reason}; choose another address with --host and --port"
        ) from None


def address(bound: socket.socket, scheme: str = "http") -> str:
    """The URL of a bound socket, with a host that can be connected to."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # shown, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _tls(config: Config) -> dict[str, Any]:
    tls = config.server.tls
    if tls is None:
        return {}
    demanded = ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE
    return {
        "ssl_certfile": tls.cert,
        "ssl_keyfile": tls.key,
        "ssl_ca_certs": tls.client_ca,
        "ssl_cert_reqs": demanded,
    }


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _options(config: Config) -> dict[str, Any]:
    return {**_OPTIONS, "timeout_graceful_shutdown": config.server.grace}


_OPTIONS: dict[str, Any] = {
    "access_log": False,
    "log_config": None,
    "log_level": "warning",
    "server_header": False,
    "date_header": False,
    "proxy_headers": False,
    "ws": "none",
    "http": BoundedProtocol,
    "timeout_keep_alive": 75,
}
"""uvicorn's 5 seconds of keep-alive would close the pooled connections of callers that pause between requests."""
