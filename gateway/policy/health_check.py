"""Ask a provider every few seconds whether it is well. It can only help: good brings targets back, bad ejects them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from pydantic import Field

from gateway.policy.breaker import BreakerState
from gateway.policy.clock import CLOCK, Clock
from gateway.settings import Settings

logger = logging.getLogger(__name__)


class HealthCheckSettings(Settings):
    """Active health check: a URL that answers GET with 2xx while the provider is healthy."""

    url: str = Field(
        pattern=r"^https?://[^/?#\s@]+(/\S*)?$",
        description="URL to GET, for example https://rerank.example.com/health.",
    )
    interval: float = Field(default=10.0, ge=0.1, le=3600, description="Seconds between two checks.")
    timeout: float = Field(default=2.0, gt=0, le=60, description="Seconds to wait for the answer of a check.")


class HealthCheck:
    """The checks of one provider.

    Args:
        ask: whether the provider is well. Raises nothing.
        breakers: those of all its targets, as they are at the time.
    """

    def __init__(
        self,
        name: str,
        settings: HealthCheckSettings,
        ask: Callable[[], Awaitable[bool]],
        breakers: Callable[[], Iterable[BreakerState]],
        clock: Clock = CLOCK,
    ) -> None:
        self._name = name
        self._settings = settings
        self._ask = ask
        self._breakers = breakers
        self._clock = clock
        self._was_good = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to check, on the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Check no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def once(self) -> bool:
        """Check, and tell every breaker. Returns what was found."""
        good = await self._ask()
        if good != self._was_good:
            logger.warning("provider %s %s its health check", self._name, "passes" if good else "fails")
        self._was_good = good
        now = self._clock.now()
        for breaker in self._breakers():
            breaker.checked(now, good)
        return good

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._settings.interval)
            await self.once()
