"""A new configuration while requests are served: on SIGHUP, or when the file or that of `auth.file` has changed.

The new one is checked whole before anything is touched. Requests under way finish on the old routes, which are closed
when the last of them is over. What has not changed keeps its connections, models, breakers and keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

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
"""Seconds between two looks at the file."""

SETTLED = 0.05
"""Seconds for which a file must have stayed as it is before it is read: one that is being written has half of it."""

_DRAINED_LOOK = 0.1


class Reloader:
    """Replaces a service's configuration.

    Args:
        service: open.
        path: the file to watch.
        read: gives the file's configuration. Raises ConfigError.
    """

    def __init__(self, service: Service, path: Path, read: Callable[[], Config]) -> None:
        self._service = service
        self._path = path
        self._read = read
        self._seen = self._look()
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Reload whenever the file has changed, until cancelled.

        It may have changed since the configuration in force was read: a worker that takes another's place is started
        with the configuration that the first one was started with.
        """
        await self.reload(though_equal=False)
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            seen = self._look()
            if None not in seen.values() and seen != self._seen:
                await self.reload()

    async def reload(self, though_equal: bool = True) -> bool:
        """Put the file's configuration in force. If it cannot be, the log says why and nothing changes."""
        async with self._lock:
            self._seen = await self._settled()
            try:
                config = self._completed(await asyncio.to_thread(self._read))
                if config == self._service.config and not though_equal:
                    return False
                await self._swap(config)
            except Exception as error:  # Whatever it is, the watch must go on.
                unforeseen = not isinstance(error, ConfigError | RerankError | OSError)
                logger.error(
                    "%s was not reloaded, the configuration before stays in force: %s",
                    self._path,
                    error,
                    exc_info=unforeseen,
                )
                self._service.telemetry.reloaded("rejected")
                return False
            # What was changed since it was read is seen as changed; a key file that is new is seen for the first time.
            self._seen = {path: self._seen.get(path, stamp) for path, stamp in self._look().items()}
            self._service.telemetry.reloaded("ok")
            logger.warning("%s was reloaded", self._path)
            return True

    async def aclose(self) -> None:
        """Close at once what still waits for its last request."""
        await asyncio.gather(*self._closing)

    def _completed(self, config: Config) -> Config:
        """With what cannot change: the address, which may be the command line's, and the store, whose counts stay."""
        now = self._service.config
        return config.model_copy(update={"server": now.server, "store": now.store})

    async def _settled(self) -> dict[Path, tuple[int, int, int] | None]:
        """The stamps, once nobody is writing any more."""
        before = self._look()
        while True:
            await asyncio.sleep(SETTLED)
            now = self._look()
            if now == before:
                return now
            before = now

    def _look(self) -> dict[Path, tuple[int, int, int] | None]:
        """The stamps of the file, and of the one with more keys where there is one."""
        auth = self._service.config.auth
        more = [self._path.parent / auth.file] if auth and auth.file else []
        return {path: _stamp(path) for path in (self._path, *more)}

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


async def _close_when_idle(old: Routes, new: Routes, service: Service, before: Iterable[asyncio.Task[None]]) -> None:
    # Still older routes may use what these have taken over from them.
    await asyncio.gather(*before)
    while old.in_flight and not service.closing:  # noqa: ASYNC110  # requests only count, and need not notify
        await asyncio.sleep(_DRAINED_LOOK)
    await old.aclose(new)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None while it cannot be read, as between two steps of an editor's saving."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
