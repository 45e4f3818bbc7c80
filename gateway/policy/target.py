"""One target of a route: sends the provider's own model name, verifies the answer, and records the attempt."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable

from msgspec.structs import replace

from gateway.policy.target_id import TargetId
from gateway.policy.verification import plausible_usage, verify
from gateway.policy.wrapper import Wrapper
from providers.errors import RerankError, TargetFailed
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)


Cost = Callable[[Ranking, int], float | None]
"""From an answer and the number of documents to US dollars; None if the price is unknown."""


def _unknown(ranking: Ranking, documents: int) -> None:
    return None


class Target(Wrapper):
    """One target of a route.

    Args:
        backend: the provider's, or the local model.
        target: the provider and the name that it knows the model by.
        shown_as: the model's name in the answer: the alias that leads here; None shows the provider's own.
        cost: what an answer costs.
    """

    def __init__(self, backend: Backend, target: TargetId, shown_as: str | None = None, cost: Cost = _unknown) -> None:
        super().__init__(backend)
        self.provider, self.model = target.provider, target.model
        self.shown_as = shown_as or target.model
        self._cost = cost

    async def rerank(self, request: RerankRequest) -> Ranking:
        """A verified ranking. Raises RerankError; a fault of our own becomes TargetFailed, so that it falls back."""
        attempt = request.call.recorder.begin_attempt(self.provider, self.model)
        try:
            ranking = await self.backend.rerank(replace(request, model=self.model, attempt=attempt))
            results = verify(ranking.results, request)
        except RerankError as error:
            attempt.finish_all(error.status, error.message, error.code)
            raise
        except CancelledError:
            attempt.finish_all(None, "cancelled", "cancelled")
            raise
        except Exception:
            logger.exception("internal error in provider %s", self.provider)
            attempt.finish_all(None, "internal error", "internal_error")
            raise TargetFailed(f"internal error in provider {self.provider}") from None
        attempt.finish_all(200, details=ranking.details)
        usage = plausible_usage(ranking.usage)
        cost = self._cost(ranking if usage is ranking.usage else replace(ranking, usage=usage), len(request.documents))
        return replace(ranking, results=results, usage=usage, provider=self.provider, model=self.shown_as, cost=cost)
