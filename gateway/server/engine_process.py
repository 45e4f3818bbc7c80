"""The engine process: with several workers, one process holds the local models, and the workers ask it.

It is a gateway like any other, of the local providers alone, on a Unix socket that only our user can reach. It lives as
long as the process that keeps it, whatever becomes of that one: it ends when the other end of its lifeline is closed.
See docs/decisions/0020-one-engine-process.md.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.queues
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import uvicorn

from gateway.backends.engine import MAX_CALL_SECONDS, SOCKET_VARIABLE
from gateway.config.limits import RequestLimitSettings
from gateway.config.loader import read_config
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.policy.bulkhead import BulkheadSettings
from gateway.policy.deadline import DeadlineSettings
from gateway.runtime.instruments import configured_model_names
from gateway.runtime.service import Service
from gateway.server import app as application
from gateway.telemetry import logs
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.observer import Telemetry
from gateway.telemetry.settings import TraceSettings
from providers.errors import RerankError
from providers.spec import LocalProvider

logger = logging.getLogger(__name__)

StartupErrors = multiprocessing.queues.SimpleQueue[str | None]

PAUSE = 1.0
"""Seconds between the end of an engine process and the start of the next."""

STOP_SECONDS = 10.0
"""Seconds that an engine process may take to stop. The workers have stopped before, so nothing is under way."""

MAX_PATH = 100
"""Bytes that the path of a Unix socket may have everywhere: 107 on Linux, 103 on macOS."""

_ANY = 2**40
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class ModelTelemetry(Telemetry):
    """Tells what the models have to do, and of no request: the workers do that."""

    def open(self) -> None:
        super().open()
        self.metrics.set_worker_info(running=False)

    def began(self, exchange: Exchange, headers: object) -> None:
        """Nothing."""

    def ended(self, exchange: Exchange) -> None:
        """Nothing."""

    def reloaded(self, outcome: str) -> None:
        """Nothing."""


class EngineService(Service):
    """A service that tells of its models only."""

    def _telemetry(self, config: Config) -> Telemetry:
        return ModelTelemetry(config.telemetry, {}, configured_model_names(config))


class EngineSupervisor:
    """Starts the engine process, and starts it again whenever it dies.

    Args:
        config: of the whole gateway.
        path: its file, if there is one.
        socket: where the engine shall listen.
        told: hears why a model cannot be loaded.
    """

    def __init__(self, config: Config, path: str | None, socket: str, told: StartupErrors) -> None:
        self._arguments = (config, path, socket, told)
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process, self._lifeline = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, at once if it does not end by itself."""
        with self._starting:
            self._stopping.set()
            self._lifeline.close()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _keep(self) -> None:
        while True:
            self._process.join()
            if self._stopping.wait(PAUSE):
                return
            logger.error("the engine process ended with status %s; starting it again", self._process.exitcode)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._lifeline.close()
                self._process, self._lifeline = self._start()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(*self._arguments, theirs), name="engine")
        # Blocked signals stay blocked in a child: a Ctrl-C for the whole group must not end it before the workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return process, ours


@contextmanager
def engine(config: Config, path: str | None, told: StartupErrors) -> Iterator[None]:
    """While it lasts, an engine process serves the local models, and processes started meanwhile know where.

    A configuration without local models has none.
    """
    if not local_part(config).providers:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="rerank-gateway-engine-") as folder:
        socket = str(Path(folder) / "socket")
        if len(os.fsencode(socket)) > MAX_PATH:
            raise OSError(f"{socket} is too long for a socket; set TMPDIR to a shorter folder")
        keeper = EngineSupervisor(config, path, socket, told)
        os.environ[SOCKET_VARIABLE] = socket
        try:
            yield
        finally:
            del os.environ[SOCKET_VARIABLE]
            keeper.stop()


def run(config: Config, path: str | None, socket: str, told: StartupErrors, lifeline: Connection) -> None:
    """The engine process: serve until the other end of the lifeline is closed."""
    os.environ.pop(SOCKET_VARIABLE, None)
    logs.configure(config.telemetry.logs)
    part = _current(config, path)

    def loaded(error: RerankError | None) -> None:
        if error is None:
            logger.info("the engine process has loaded its models")
        else:
            told.put(error.message)
            server.should_exit = True

    app = application.create(part, loaded, path, EngineService(part), _read)
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
    threading.Thread(target=_watch, args=(lifeline, server), daemon=True).start()
    server.run()


def local_part(config: Config) -> Config:
    """What the engine process serves: the local providers, without limits, which the workers have kept."""
    unlimited = BulkheadSettings(concurrency=_ANY)
    return Config(
        providers={
            name: ProviderSettings(adapter=settings.adapter, models=settings.models, bulkhead=unlimited)
            for name, settings in config.providers.items()
            if isinstance(config.adapter(name), LocalProvider)
        },
        request_limits=RequestLimitSettings(body_bytes=_ANY, documents=_ANY, document_bytes=_ANY, json_depth=200),
        deadline=DeadlineSettings(default=MAX_CALL_SECONDS, max=MAX_CALL_SECONDS),
        telemetry=config.telemetry.model_copy(update={"traces": TraceSettings(exporter="none")}),
    )


def _current(config: Config, path: str | None) -> Config:
    """The local part of what the file says now, which a reload may have changed since the gateway was started."""
    if path is not None:
        with suppress(ConfigError, OSError):
            return _read(path)
    return local_part(config)


def _read(path: str) -> Config:
    return local_part(read_config(path))


def _watch(lifeline: Connection, server: uvicorn.Server) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    server.should_exit = True
