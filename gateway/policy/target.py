"""One target of a route: swaps the model's name, verifies the answer, and records the attempt."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from time import monotonic
from typing import Any

from msgspec.structs import replace

from gateway.verify import verified
from providers.errors import RerankError, TargetFailed
from providers.types import Attempt, Backend, Ranking, RerankRequest, Timing

logger = logging.getLogger(__name__)


Cost = Callable[[Ranking, int], float | None]


def _unknown(ranking: Ranking, documents: int) -> None:
    return None


class Target:
    """A backend as one (provider, model) that a route may try.

    Args:
        backend: what answers.
        provider: the provider's configured name.
        model: the name the provider knows the model by.
        shown_as: the model's name in the answer; the caller's own where the target is an alias.
        cost: what an answer for so many documents cost, in US dollars; None if unknown.
    """

    def __init__(
        self, backend: Backend, provider: str, model: str, shown_as: str | None = None, cost: Cost = _unknown
    ) -> None:
        self.backend = backend
        self.provider = provider
        self.model = model
        self.shown_as = shown_as or model
        self._cost = cost

    async def rerank(self, request: RerankRequest) -> Ranking:
        """A verified ranking. Raises RerankError; a fault of our own becomes TargetFailed, so that it falls back."""
        call = request.call
        asked = replace(request, model=self.model, headers=call.propagate() if call.propagate else None)
        start = monotonic()
        try:
            ranking = await self.backend.rerank(asked)
            results = verified(ranking.results, request)
        except RerankError as error:
            self._record(asked, start, error.status, error.message, error.code)
            raise
        except CancelledError:
            self._record(asked, start, None, "cancelled", "cancelled")
            raise
        except Exception:
            logger.exception("internal error in provider %s", self.provider)
            self._record(asked, start, None, "internal error", "internal_error")
            raise TargetFailed(f"internal error in provider {self.provider}") from None
        self._record(asked, start, 200, None, "", ranking.details)
        cost = self._cost(ranking, len(request.documents))
        return replace(ranking, results=results, provider=self.provider, model=self.shown_as, cost=cost)

    def _record(
        self,
        request: RerankRequest,
        start: float,
        status: int | None,
        error: str | None,
        error_type: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        end = monotonic()
        attempt = Attempt(self.provider, self.model, status, error, round((end - start) * 1000))
        timing = Timing(
            attempt=attempt, start=start, end=end, error_type=error_type, headers=request.headers, details=details
        )
        request.call.attempts.append(attempt)
        request.call.timings.append(timing)

    async def ready(self) -> bool:
        return await self.backend.ready()

    async def aclose(self) -> None:
        await self.backend.aclose()
