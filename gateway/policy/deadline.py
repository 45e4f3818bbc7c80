"""One deadline for the whole call, and the share of the time that each of its targets gets."""

from __future__ import annotations

import asyncio
from typing import Self

from msgspec.structs import replace
from pydantic import Field, model_validator

from gateway.headers import REQUEST_TIMEOUT
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.wrapper import Wrapper
from gateway.settings import Seconds, Settings, check_bound
from providers.errors import InvalidRequest, TargetTimeout
from providers.types import Backend, Ranking, RerankRequest


class DeadlineSettings(Settings):
    """Time limit of a whole request, including all attempts and the pauses between them."""

    default: Seconds = Field(
        default=30.0, gt=0, le=3600, description=f"Seconds, if the caller does not send {REQUEST_TIMEOUT}."
    )
    max: Seconds = Field(default=300.0, gt=0, le=3600, description=f"Upper bound in seconds for {REQUEST_TIMEOUT}.")

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if "max" in self.model_fields_set:
            check_bound(self, "default", "max")
        return self


def allowed(settings: DeadlineSettings, header: bytes | None) -> float:
    """Seconds that a call may take. Raises InvalidRequest for a header that is not a number of milliseconds."""
    if header is None:
        return settings.default
    if not header.isdigit() or len(header) > 12 or int(header) < 1:
        raise InvalidRequest(f"{REQUEST_TIMEOUT} must be a whole number of milliseconds, at least 1")
    return min(int(header) / 1000, settings.max)


def time_share(remaining: float, own: int, later: int) -> float:
    """Seconds that one target may use. What it does not use falls to the targets after it.

    Args:
        remaining: seconds until the deadline.
        own: the target's shares.
        later: the shares of all targets after it.
    """
    return remaining * own / (own + later) if later else remaining


def within_share(request: RerankRequest, clock: Clock, own: int, later: int) -> RerankRequest:
    """The request with the deadline of one target's share of the time that is left; see `time_share`."""
    deadline = request.call.deadline
    if deadline is None or not own:
        return request
    now = clock.now()
    return replace(request, call=replace(request.call, deadline=now + time_share(deadline - now, own, later)))


class Deadline(Wrapper):
    """Ends a call at its deadline, for backends that do not look at the deadline themselves."""

    def __init__(self, backend: Backend, provider: str, clock: Clock = CLOCK) -> None:
        super().__init__(backend)
        self._provider = provider
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking. Raises TargetTimeout, and what the target raises."""
        deadline = request.call.deadline
        if deadline is None:
            return await self.backend.rerank(request)
        remaining = deadline - self._clock.now()
        if remaining <= 0:
            raise TargetTimeout(f'no time was left to ask provider "{self._provider}"', waited=0.0)
        try:
            async with asyncio.timeout(remaining):
                return await self.backend.rerank(request)
        except TimeoutError:
            message = f'no complete answer from provider "{self._provider}" within {remaining:.3g} s'
            raise TargetTimeout(message, waited=remaining) from None
