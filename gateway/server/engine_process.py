"""The engine process: with several workers, one more process holds the local models, so that memory holds them once.

It runs a gateway of the local providers alone, on a Unix socket in a folder that only our user can enter. It exits with
its parent, even if that one is killed: the parent holds the write end of a pipe, and end-of-file means stop.
See docs/decisions/0020-one-engine-process.md.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NoReturn

import uvicorn

from gateway.backends.engine import MAX_CALL_SECONDS, SOCKET_VARIABLE
from gateway.config.limits import NO_REQUEST_LIMITS
from gateway.config.loader import read_config
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.exits import leave
from gateway.policy.bulkhead import BulkheadSettings
from gateway.policy.deadline import DeadlineSettings
from gateway.process_folder import process_folder
from gateway.routing.kinds import kind_of
from gateway.runtime.instruments import engine_instruments
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.server import app as application
from gateway.server.processes import LoadResults
from gateway.settings import UNLIMITED
from gateway.telemetry import logs
from gateway.telemetry.settings import TraceSettings
from providers.errors import RerankError

logger = logging.getLogger(__name__)

RESTART_DELAY = 1.0
"""Seconds between the end of an engine process and the start of the next one."""

STOP_TIMEOUT = 0.2
"""Seconds in which the engine process must stop, or it is killed: the workers have stopped before it, so it has no
requests left, and while it imports torch it hears nothing for seconds."""

MAX_SOCKET_PATH_BYTES = 100
"""A length that every system accepts for the path of a Unix socket. Linux allows 107 bytes, macOS 103."""

_BLOCKED_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class EngineSupervisor:
    """Starts the engine process, and restarts it whenever it ends by itself.

    Args:
        config: of the whole gateway.
        path: the file that it was read from; None without one.
        socket: path of the Unix socket that the engine listens on.
        load_results: receives the error message if a model cannot be loaded.
    """

    def __init__(self, config: Config, path: str | None, socket: str, load_results: LoadResults) -> None:
        self._arguments = (config, path, socket, load_results)
        self._stopping = threading.Event()
        # Held while a process is started or stopping begins, so that none is started after that.
        self._start_lock = threading.Lock()
        self._process, self._lifeline = self._start()
        self._thread = threading.Thread(target=self._restart_until_stopped, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the engine process; kill it if it takes longer than STOP_TIMEOUT."""
        with self._start_lock:
            self._stopping.set()
            self._lifeline.close()
        self._thread.join(STOP_TIMEOUT)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _restart_until_stopped(self) -> None:
        while True:
            self._process.join()
            if self._stopping.wait(RESTART_DELAY):
                return
            logger.error("the engine process ended with status %s; starting it again", self._process.exitcode)
            with self._start_lock:
                if self._stopping.is_set():
                    return
                self._lifeline.close()
                self._process, self._lifeline = self._start()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        read_end, write_end = context.Pipe(duplex=False)
        process = context.Process(target=run_process, args=(*self._arguments, read_end), name="engine")
        # A child inherits the signal mask. Ctrl-C in a terminal goes to the whole process group, and the engine must
        # outlive the workers, which may still need it.
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED_SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        read_end.close()
        return process, write_end


@contextmanager
def running_engine(config: Config, path: str | None, load_results: LoadResults) -> Iterator[None]:
    """Keep an engine process running, if the configuration has local models.

    Processes that are started within the block find its socket in the environment variable SOCKET_VARIABLE.

    Args:
        config: of the whole gateway.
        path: the file that it was read from; None without one.
        load_results: receives the error message if a model cannot be loaded.

    Raises:
        OSError: the path of the temporary folder is too long for a Unix socket.
    """
    if not local_part(config).providers:
        yield
        return
    with process_folder("engine-") as folder:
        socket = str(folder / "socket")
        if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
            raise OSError(f"{socket} is too long for a socket; set TMPDIR to a shorter folder")
        supervisor = EngineSupervisor(config, path, socket, load_results)
        os.environ[SOCKET_VARIABLE] = socket
        try:
            yield
        finally:
            del os.environ[SOCKET_VARIABLE]
            supervisor.stop()


def run_process(
    config: Config, path: str | None, socket: str, load_results: LoadResults, lifeline: Connection
) -> NoReturn:
    """The main function of the engine process."""
    serve_engine(config, path, socket, load_results, lifeline)
    leave(0)


def serve_engine(
    config: Config, path: str | None, socket: str, load_results: LoadResults, lifeline: Connection
) -> None:
    """Serve until the other end of `lifeline` is closed."""
    os.environ.pop(SOCKET_VARIABLE, None)
    logs.configure(config.telemetry.logs)
    local = _current_local_part(config, path)

    def on_loaded(error: RerankError | None) -> None:
        if error is None:
            logger.info("the engine process has loaded its models")
        else:
            load_results.put(error.message)
            server.should_exit = True

    service = Service(local, engine_instruments)
    read = partial(_read_local_part, path)
    reloader = Reloader(service, path, read, part_of="the engine process") if path is not None else None
    app = application.build(service, reloader, on_loaded)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            uds=socket,
            access_log=False,
            log_config=None,
            log_level="warning",
            ws="none",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    threading.Thread(target=_stop_at_eof, args=(lifeline, server), daemon=True).start()
    server.run()


def local_part(config: Config) -> Config:
    """The configuration of the engine process: the local providers, without limits, which the workers enforce."""
    unlimited = BulkheadSettings(concurrency=UNLIMITED)
    return Config(
        providers={
            name: ProviderSettings(adapter=settings.adapter, models=settings.models, bulkhead=unlimited)
            for name, settings in config.providers.items()
            if kind_of(config.adapter(name), settings).loads_models
        },
        request_limits=NO_REQUEST_LIMITS,
        deadline=DeadlineSettings(default=MAX_CALL_SECONDS, max=MAX_CALL_SECONDS),
        telemetry=config.telemetry.model_copy(update={"traces": TraceSettings(exporter="none")}),
    )


def _current_local_part(config: Config, path: str | None) -> Config:
    # A restarted engine begins with the file as it is now: the workers may have reloaded it since the gateway started.
    if path is not None:
        with suppress(ConfigError, OSError):
            return _read_local_part(path)
    return local_part(config)


def _read_local_part(path: str | None) -> Config:
    return local_part(read_config(path))


def _stop_at_eof(lifeline: Connection, server: uvicorn.Server) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    server.should_exit = True
