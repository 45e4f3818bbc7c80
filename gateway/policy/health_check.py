"""Active health checks: a provider that fails them has its targets ejected, one that passes has them back at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable

from pydantic import Field, field_validator

from gateway.policy.background import BackgroundTask
from gateway.policy.breaker import BreakerState
from gateway.policy.clock import CLOCK, Clock
from gateway.settings import Seconds, Settings

logger = logging.getLogger(__name__)


class HealthCheckSettings(Settings):
    """Active health check: a URL that answers GET with 2xx while the provider is healthy."""

    url: str = Field(
        description="What to GET: a path at the provider's own address, such as /health, or a URL.",
    )
    interval: Seconds = Field(default=10.0, ge=0.1, le=3600, description="Seconds between two checks.")
    timeout: Seconds = Field(default=2.0, gt=0, le=60, description="Seconds to wait for the answer of a check.")
    failures: int = Field(default=2, ge=1, le=100, description="Failed checks in a row that eject the targets.")

    @field_validator("url")
    @classmethod
    def _is_a_path_or_a_url(cls, value: str) -> str:
        # Two slashes would be another host (RFC 3986, 4.2).
        if not re.fullmatch(r"https?://[^/?#\s@]+(/[^\s\x00-\x1f]*)?|/(?!/)[^\s\x00-\x1f]*", value):
            raise ValueError("must be a path such as /health, or an http:// or https:// URL")
        return value


class HealthCheck(BackgroundTask):
    """The checks of one provider, at one of its addresses.

    Args:
        name: the provider's, and the address's if there are several, for the log.
        settings: how often, and how many failures in a row count.
        probe: sends one check, and returns whether the provider is healthy; None if it could not be sent, for a reason
            of our own. Raises nothing.
        breakers: gives those of all the provider's targets, at that address, that have been called by then.
    """

    def __init__(
        self,
        name: str,
        settings: HealthCheckSettings,
        probe: Callable[[], Awaitable[bool | None]],
        breakers: Callable[[], Iterable[BreakerState]],
        clock: Clock = CLOCK,
    ) -> None:
        self._name = name
        self._settings = settings
        self._probe = probe
        self._breakers = breakers
        self._clock = clock
        self._was_healthy = True
        self._failures = 0

    async def check(self) -> bool:
        """Check once, and tell every breaker what is known then. Returns whether the provider counts as healthy."""
        passed = await self._probe()
        if passed is None:
            return self._was_healthy
        self._failures = 0 if passed else self._failures + 1
        if passed or self._failures >= self._settings.failures:
            self._report(passed)
        return self._was_healthy

    def _report(self, healthy: bool) -> None:
        if healthy != self._was_healthy:
            logger.warning("provider %s %s its health check", self._name, "passes" if healthy else "fails")
        self._was_healthy = healthy
        now = self._clock.now()
        for breaker in self._breakers():
            breaker.record_health_check(now, healthy)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._settings.interval)
            await self.check()
