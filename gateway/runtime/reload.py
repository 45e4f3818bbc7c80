"""Put a changed configuration in force while requests are served: on SIGHUP, or when a watched file has changed.

The new configuration is checked as a whole, and its local models are loaded, before anything is replaced. Requests in
progress finish on the old routes, which are closed after the last of them. Whatever is the same in both keeps its
connections, models, breakers and keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gateway.config import exposure
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.routing import routes as routing
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import Routes
from gateway.runtime.service import Service
from providers.errors import RerankError

logger = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
"""Seconds between two checks of the files."""

SETTLE_SECONDS = 0.05
"""Seconds for which the files must not change before they are read: an editor may still be writing them."""

_DRAIN_POLL_INTERVAL = 0.1
"""Seconds between two checks whether the old routes are idle."""

FileStamp = tuple[int, int, int]
"""Modification time in nanoseconds, size in bytes, and inode, which is new when an editor replaces the file."""


class Reloader:
    """Replaces the configuration of a service.

    Args:
        service: it must be open before the first reload.
        path: the configuration file. The file that its `auth.file` names is watched as well.
        read: reads the configuration from that file; called in a thread. Raises ConfigError or OSError.
    """

    def __init__(self, service: Service, path: str | Path, read: Callable[[], Config]) -> None:
        self._service = service
        self._path = Path(path)
        self._read = read
        self._stamps = self._current_stamps()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch the files. Needs the running event loop."""
        self._tasks.add(asyncio.create_task(self.watch()))

    def request(self) -> None:
        """Reload soon. Needs the running event loop."""
        task = asyncio.create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def watch(self) -> None:
        """Reload whenever a file has changed, until cancelled."""
        # A file may have changed before the watch begins: the supervisor starts a replacement worker with the
        # configuration that it once read itself.
        await self.reload(even_if_equal=False)
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            stamps = self._current_stamps()
            if None not in stamps.values() and stamps != self._stamps:
                await self.reload()

    async def reload(self, even_if_equal: bool = True) -> bool:
        """Put the configuration in the file in force. Never raises: what cannot be used is logged and changes nothing.

        Args:
            even_if_equal: replace the current one even if nothing in it has changed.

        Returns:
            Whether the configuration was replaced.
        """
        async with self._lock:
            self._stamps = await self._settled_stamps()
            try:
                config = self._with_fixed_sections(await asyncio.to_thread(self._read))
                if config == self._service.config and not even_if_equal:
                    return False
                await self._swap(config)
            except Exception as error:  # The watch must go on after any error.
                self._reject(error)
                return False
            # Keep the stamps taken before reading, so that a change made meanwhile is noticed. Only a key file that the
            # new configuration names for the first time has none yet.
            self._stamps = {path: self._stamps.get(path, stamp) for path, stamp in self._current_stamps().items()}
            self._service.observer.reloaded("ok")
            logger.warning("%s was reloaded", self._path)
            return True

    async def aclose(self) -> None:
        """Stop watching, and close routes that are no longer in force without waiting for their last requests."""
        self._service.closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._closing)

    def _reject(self, error: Exception) -> None:
        is_expected = isinstance(error, ConfigError | RerankError | OSError)
        message = "%s was not reloaded, the previous configuration stays in force: %s"
        logger.error(message, self._path, error, exc_info=not is_expected)
        self._service.observer.reloaded("rejected")

    def _with_fixed_sections(self, config: Config) -> Config:
        """Without changes of what needs a restart: `server`, whose sockets are bound, and `store`, which holds counts.

        `server` may also come from the command line rather than from the file.
        """
        current = self._service.config
        return config.model_copy(update={"server": current.server, "store": current.store})

    async def _settled_stamps(self) -> dict[Path, FileStamp | None]:
        previous = self._current_stamps()
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            current = self._current_stamps()
            if current == previous:
                return current
            previous = current

    def _current_stamps(self) -> dict[Path, FileStamp | None]:
        auth = self._service.config.auth
        key_files = [self._path.parent / auth.file] if auth and auth.file else []
        return {path: _stamp(path) for path in (self._path, *key_files)}

    async def _swap(self, config: Config) -> None:
        service, old = self._service, self._service.routes
        exposure.check_listeners(config.server, config.auth)
        new = routing.build(config, old, TargetPricing(config, service.accounts.store))
        try:
            for model in new.local_models():
                if not await model.ready():
                    await model.load()
        except BaseException:
            await new.aclose(old)
            raise
        service.replace(config, new)
        task = asyncio.create_task(_close_when_idle(old, new, service, list(self._closing)))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close_when_idle(old: Routes, new: Routes, service: Service, earlier: Iterable[asyncio.Task[None]]) -> None:
    # Routes that were replaced even earlier may use connections and models that `old` took over from them.
    await asyncio.gather(*earlier)
    while old.in_flight and not service.closing:  # noqa: ASYNC110  # polling keeps the cost of a request at one addition
        await asyncio.sleep(_DRAIN_POLL_INTERVAL)
    await old.aclose(new)


def _stamp(path: Path) -> FileStamp | None:
    """The stamp of a file; None while it cannot be read, as in between when an editor replaces it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
