"""Put a changed configuration in force while requests are served: on SIGHUP, or when a watched file has changed.

The new configuration is checked as a whole. Then its callers' keys take effect, so that a revoked one waits for
nothing, then its local models are loaded, then the rest takes effect. Requests in progress finish on the old routes,
which are closed after the last of them. Whatever is the same in both keeps its connections, models, breakers and keys.

A newer change cancels the reload under way. One that failed is tried again, since its reason may have passed; the log
has that reason once for each time that a reload was asked for, by a signal, an operator or a changed file.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.config import exposure
from gateway.config.locations import located
from gateway.config.root import Config
from gateway.errors import ConfigError
from gateway.file_stamps import FileStamp, stamp_of
from gateway.routing import routes as routing
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import Routes
from gateway.runtime import restart
from gateway.runtime.backoff import RetryBackoff
from gateway.runtime.changes import describe_changes
from gateway.runtime.service import Service
from gateway.telemetry import lifecycle
from providers.errors import RerankError

logger = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
"""Seconds between two checks of the files."""

SETTLE_SECONDS = 0.05
"""Seconds for which the files must not change before they are read: an editor may still be writing them."""

_DRAIN_POLL_INTERVAL = 0.1
"""Seconds between two checks whether the old routes are idle."""


class Reloader:
    """Replaces the configuration of a service.

    Args:
        service: it must be open before the first reload.
        path: the configuration file. The files whose content is part of it (`Config.files`) are watched as well.
        read: reads the configuration from that file; called in a thread. Raises ConfigError or OSError.
        backoff: when a failed reload is tried again.
        part_of: the name of a process that serves but a part of the configuration, and says nothing of changes of the
            rest; None for one that serves all of it.
    """

    def __init__(
        self,
        service: Service,
        path: str | Path,
        read: Callable[[], Config],
        backoff: RetryBackoff | None = None,
        part_of: str | None = None,
    ) -> None:
        self._service = service
        self._path = Path(path)
        self._read = read
        self._stamps = self._current_stamps()
        self._backoff = backoff or RetryBackoff()
        self._part_of = part_of
        self._last_rejection = ""
        self._at_start: Config | None = None
        self._under_way: asyncio.Task[bool] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to watch the files. Needs the running event loop."""
        self._watching = asyncio.create_task(self.watch())

    def request(self) -> None:
        """Reload soon, and say in the log how that went. Needs the running event loop."""
        self._backoff.reset()
        self._last_rejection = ""
        self._begin()

    async def watch(self) -> None:
        """Reload whenever a file has changed, or a failed reload is due again, until cancelled."""
        # A file may have changed before the watch begins: the supervisor starts a replacement worker with the
        # configuration that it once read itself.
        self._begin(even_if_equal=False)
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            if self._have_changed(self._current_stamps()):
                self.request()
            elif self._backoff.is_due():
                self._begin()

    def _have_changed(self, stamps: dict[Path, FileStamp | None]) -> bool:
        """Whether there is something new to read. A file that is away is not: an editor may be replacing it.

        But a new configuration may name another key file, say, and the old one be gone with the old configuration.
        """
        if None not in stamps.values():
            return stamps != self._stamps
        return stamps[self._path] not in (None, self._stamps[self._path])

    async def reload(self, even_if_equal: bool = True) -> bool:
        """Put the configuration in the file in force. Never raises: what cannot be used is logged and changes nothing.

        A reload that is under way is cancelled: this one reads what is newest.

        Args:
            even_if_equal: replace the current one even if nothing in it has changed.

        Returns:
            Whether the configuration was replaced; False also if a newer reload has cancelled this one.
        """
        self._backoff.reset()
        self._last_rejection = ""
        task = self._begin(even_if_equal)
        await asyncio.wait({task})
        return not task.cancelled() and task.result()

    def _begin(self, even_if_equal: bool = True) -> asyncio.Task[bool]:
        # Before anything else: the watch must see as new what is written from now on, and only that.
        self._stamps = self._current_stamps()
        self._under_way = asyncio.create_task(self._replace(self._under_way, even_if_equal))
        return self._under_way

    async def _replace(self, earlier: asyncio.Task[bool] | None, even_if_equal: bool) -> bool:
        if earlier is not None and not earlier.done():
            earlier.cancel()
            await asyncio.wait({earlier})
        self._stamps = await self._settled_stamps()
        try:
            written = await asyncio.to_thread(self._read)
            if self._at_start is None:
                # At the first look it is what the gateway was started with, but for what the command line has changed.
                self._at_start = self._service.config if even_if_equal else written
            config = restart.keep(written, self._service.config)
            if even_if_equal or config != self._service.config:
                await self._put_in_force(config)
                self._tell_what_waits(self._at_start, written)
                return True
        except Exception as error:  # The watch must go on after any error.
            self._reject(error)
        return False

    async def _put_in_force(self, config: Config) -> None:
        with located(self._path):
            exposure.check_listeners(config.server, config.auth)
        exposure.check_keys_kept(self._service.config.auth, config.auth)
        self._service.replace_keys(config)
        stamps = self._stamps_of(config)
        self._watch_current_files(stamps)
        old = self._service.routes.config
        await self._swap(config)
        self._watch_current_files(stamps)
        self._backoff.reset()
        self._last_rejection = ""
        self._service.observer.reloaded("ok")
        self._tell(old, config)

    def _tell(self, old: Config, new: Config) -> None:
        if self._part_of is None or old != new:
            changes = describe_changes(old, new)
            message = f"{self._path} was reloaded{self._by_whom()}: {changes}"
            lifecycle.tell("reloaded", message, changes=changes, pid=os.getpid())

    def _by_whom(self) -> str:
        """Which process speaks, where there are several."""
        if self._part_of is not None:
            return f" by {self._part_of}"
        return f" by worker {os.getpid()}" if multiprocessing.parent_process() is not None else ""

    def _watch_current_files(self, stamps: dict[Path, FileStamp | None]) -> None:
        # Keep the stamps taken before reading, so that a change made meanwhile is noticed. Only a file that the new
        # configuration names for the first time has none yet.
        self._stamps = {
            path: self._stamps.get(path, stamps.get(path, stamp)) for path, stamp in self._current_stamps().items()
        }

    async def aclose(self) -> None:
        """Stop watching, and close routes that are no longer in force without waiting for their last requests."""
        self._service.closing = True
        tasks = [task for task in (self._watching, self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._closing)

    def _reject(self, error: Exception) -> None:
        self._backoff.failed()
        self._service.observer.reloaded("rejected")
        if repr(error) == self._last_rejection:  # Tried again, and nothing new: the log has it already.
            return
        self._last_rejection = repr(error)
        is_expected = isinstance(error, ConfigError | RerankError | OSError)
        message = "%s was not reloaded%s, the previous configuration stays in force%s: %s"
        keys = ", except that the keys are the new ones" if self._has_new_keys() else ""
        words = (self._path, self._by_whom(), keys, error)
        logger.error(message, *words, exc_info=not is_expected, extra={"fields": {"pid": os.getpid()}})

    def _has_new_keys(self) -> bool:
        return self._service.config.auth != self._service.routes.config.auth

    def _tell_what_waits(self, at_start: Config, written: Config) -> None:
        if paths := restart.settings_to_restart_for(at_start, written):
            logger.warning("%s: these changes take effect at a restart: %s", self._path, ", ".join(paths))

    async def _settled_stamps(self) -> dict[Path, FileStamp | None]:
        previous = self._current_stamps()
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            current = self._current_stamps()
            if current == previous:
                return current
            previous = current

    def _current_stamps(self) -> dict[Path, FileStamp | None]:
        return self._stamps_of(self._service.config)

    def _stamps_of(self, config: Config) -> dict[Path, FileStamp | None]:
        return {path: stamp_of(path) for path in (self._path, *config.files)}

    async def _swap(self, config: Config) -> None:
        service, old = self._service, self._service.routes
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
