"""Run the server: open the listeners, start one process or several, and say when requests can be served."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import uvicorn

from gateway.config.root import Config
from gateway.config.server import AdminSettings, ServerSettings
from gateway.server import app as application
from gateway.server import healthcheck
from gateway.server.banner import ready_message
from gateway.server.engine_process import running_engine
from gateway.server.processes import LoadResults, OnReady, Server, Supervisor, WorkerApp
from gateway.server.protocol import BoundedProtocol
from gateway.server.tls import server_context
from gateway.telemetry import lifecycle, logs
from gateway.telemetry.metric_store import shared_folder
from providers.errors import RerankError

BACKLOG = 2048
"""Connections that the kernel holds for a listener until they are accepted; further ones have to try again."""


def serve(config: Config, config_path: str | None = None) -> int:
    """Serve until a signal, or until a local model cannot be loaded.

    Args:
        config: validated.
        config_path: the file that it was read from, to be watched for changes; None without one.

    Returns:
        The exit status: 0, EXIT_INTERRUPTED, or EXIT_NOT_LOADED.

    Raises:
        OSError: an address cannot be listened on; the message says what to do.
    """
    with ExitStack() as stack:
        addresses: list[ServerSettings | AdminSettings | None] = [config.server, config.server.admin]
        listeners = [stack.enter_context(open_listener(address)) for address in addresses if address]
        urls = [url_of(listener, "https" if config.server.tls else "http") for listener in listeners]
        message = ready_message(urls[0], config, *urls[1:])
        logs.configure(config.telemetry.logs)
        for name, url in zip(("listening", "listening for operators"), urls, strict=False):
            lifecycle.tell("listening", f"{name} on {url}", url=url)
        on_ready = partial(lifecycle.tell_ready, message, urls[0], config.telemetry.logs.format == "json")
        healthcheck.publish(urls[0], config.server.tls)
        run = _run_alone if config.server.workers == 1 else _run_workers
        return run(config, listeners, on_ready, config_path)


def _run_alone(config: Config, listeners: list[socket.socket], on_ready: OnReady, path: str | None) -> int:
    """Serve in this process."""

    def on_loaded(error: RerankError | None) -> None:
        server.on_loaded(error)

    if path is not None:
        # By default SIGHUP ends a process. It is handled only while the application's lifespan lasts.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = Server(_uvicorn_config(application.create(config, path, on_loaded), config))
    server.on_ready = on_ready
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(server.serve(sockets=listeners))
    return server.exit_status


def _run_workers(config: Config, listeners: list[socket.socket], on_ready: OnReady, path: str | None) -> int:
    """Serve in several processes under a supervisor, with one more for local models if there are any."""
    results: LoadResults = multiprocessing.get_context("spawn").SimpleQueue()
    app = WorkerApp(config, path, results)
    options = _uvicorn_config(app, config, factory=True, workers=config.server.workers)
    supervisor = Supervisor(options, listeners, results, on_ready)
    with shared_folder(), running_engine(config, path, results):
        supervisor.run()
    if supervisor.startup_error is not None:
        lifecycle.tell_error(supervisor.startup_error)
    return supervisor.exit_status


def open_listener(address: ServerSettings | AdminSettings) -> socket.socket:
    """A socket that listens on `host` and `port` (0: any free one).

    Raises:
        OSError: the address cannot be listened on; the message says what to do.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        # create_server appends "(while attempting to bind on address ...)", and the sentence below names it already.
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(
            f"cannot listen on {address.host}:{address.port}: {reason}; choose another address with --host and --port"
        ) from None


def url_of(listener: socket.socket, scheme: str) -> str:
    """The URL by which this machine reaches a listener."""
    host, port = listener.getsockname()[:2]
    # The wildcard addresses mean "all interfaces" and cannot be connected to everywhere.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # shown, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _uvicorn_config(app: Any, config: Config, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
        http=BoundedProtocol,
        # The default of 5 s would close the pooled connections of callers that pause between requests.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=config.server.shutdown_timeout,  # type: ignore[arg-type]  # fractions work as well
        **_tls_options(config),
        **options,
    )


def _tls_options(config: Config) -> dict[str, Any]:
    return {"ssl_context_factory": partial(server_context, config.server.tls)} if config.server.tls else {}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
