"""Run the server: one uvicorn process per worker, and a word on the terminal when it can be used."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from gateway import app as application
from gateway.config import Config
from gateway.telemetry import logs
from gateway.telemetry.cells import FOLDER_VARIABLE
from providers.errors import RerankError

EXIT_NOT_LOADED = 3
"""The exit status when a local model cannot be loaded."""


class Server(uvicorn.Server):
    """A uvicorn server that says when it can be used, and stops when a local model cannot be loaded."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self.exit_status = 0
        self._announce = announce
        self._bound: asyncio.Future[str] = asyncio.Future()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind, then let the announcement know the address."""
        await super().startup(sockets)
        if self.started:
            self._bound.set_result(address(self.servers[0].sockets[0]))

    def loaded(self, error: RerankError | None) -> None:
        """Called when the local models are loaded, or one of them cannot be."""
        if error is None:
            self._bound.add_done_callback(lambda bound: self._announce(bound.result()))
            return
        print(f"error: {error.message}", file=sys.stderr)
        self.exit_status = EXIT_NOT_LOADED
        self.should_exit = True


def one_process(config: Config) -> int:
    """Serve in this process until a signal. Returns the exit status."""
    logs.configure(config.telemetry.logs)

    async def run() -> int:
        app = application.create(config, lambda error: server.loaded(error))
        server = Server(uvicorn.Config(app, host=config.server.host, port=config.server.port, **_OPTIONS), announce)
        await server.serve()
        return server.exit_status

    def announce(url: str) -> None:
        print(banner(url, config), flush=True)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run())


def several_processes(config: Config, path: str | None) -> int:
    """Serve in `workers` processes under uvicorn's supervisor until a signal. Returns the exit status."""
    if path:
        os.environ[application.CONFIG_VARIABLE] = path
    host, port = config.server.host, config.server.port
    threading.Thread(target=_announce_when_ready, args=(config,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="rerank-gateway-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        app = "gateway.app:from_environment"
        uvicorn.run(app, factory=True, host=host, port=port, workers=config.server.workers, **_OPTIONS)
    return 0


def banner(url: str, config: Config) -> str:
    """What a newcomer needs: the address, the models, and a line to paste."""
    names = [*config.models, *(f"{name}/{model}" for name, p in config.providers.items() for model in p.models or {})]
    open_ended = [f"{name}/<any of its models>" for name, provider in config.providers.items() if not provider.models]
    lines = [
        f"rerank-gateway is ready on {url}",
        f"  models:  {', '.join(names + open_ended) or 'none'}",
        f"  API:     {url}/docs",
    ]
    if names or open_ended:
        lines += ["", "Try it:", _curl(url, (names + open_ended)[0])]
    return "\n".join(lines)


def address(bound: socket.socket) -> str:
    """The URL of a bound socket, with a host that can be connected to."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # shown, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _curl(url: str, model: str) -> str:
    body = {
        "model": model,
        "query": "What is the capital of France?",
        "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Horses eat grass."],
    }
    return f"curl -s {url}/v1/rerank -H 'content-type: application/json' -d '{json.dumps(body)}'"


def _announce_when_ready(config: Config) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.server.host, config.server.host)  # noqa: S104
    while not _is_ready(host, config.server.port):
        time.sleep(0.2)
    print(banner(f"http://{host}:{config.server.port}", config), flush=True)


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


_OPTIONS: dict[str, Any] = {
    "access_log": False,
    "log_config": None,
    "log_level": "warning",
    "server_header": False,
    "date_header": False,
    "proxy_headers": False,
    "ws": "none",
    "http": "httptools",
    "timeout_keep_alive": 75,
}
"""uvicorn's 5 seconds of keep-alive would close the pooled connections of callers that pause between requests."""
