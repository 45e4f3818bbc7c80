"""Run the server: one uvicorn process per worker, and a word on the terminal when it can be used."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.queues
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import uvicorn

from gateway.config.root import Config
from gateway.config.server import AdminSettings, ServerSettings
from gateway.server import app as application
from gateway.server.banner import ready_message
from gateway.server.engine_process import engine
from gateway.server.processes import (
    EXIT_NOT_LOADED,
    Server,
    Supervisor,
    Worker,
)
from gateway.server.protocol import BoundedProtocol
from gateway.telemetry import logs
from gateway.telemetry.metric_store import shared_folder
from providers.errors import RerankError

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def serve(config: Config, config_path: str | None = None) -> int:
    """Serve until a signal; `path` is the configuration's file, to be watched. Returns the exit status.

    Raises:
        OSError: saying what to do, if the port cannot be had.
    """
    with ExitStack() as stack:
        places: list[ServerSettings | AdminSettings | None] = [config.server, config.server.admin]
        bound = [stack.enter_context(listening(place)) for place in places if place]
        text = ready_message(address(bound[0], "https" if config.server.tls else "http"), config)
        serve_here = config.server.workers == 1
        run = one_process if serve_here else several_processes
        return run(config, bound, text, config_path)


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


def listening(server: ServerSettings | AdminSettings) -> socket.socket:
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
    return {**_OPTIONS, "timeout_graceful_shutdown": config.server.shutdown_timeout}


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
