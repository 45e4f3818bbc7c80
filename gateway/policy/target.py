"""One target of a route: sends the provider's own model name, verifies the answer, and records the attempt."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable

from msgspec.structs import replace

from gateway.policy.verification import believable, verify
from gateway.policy.wrapper import Wrapper
from providers.errors import RerankError, TargetFailed
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)


Cost = Callable[[Ranking, int], float | None]


def _unknown(ranking: Ranking, documents: int) -> None:
    return None


class Target(Wrapper):
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
        super().__init__(backend)
        self.provider = provider
        self.model = model
        self.shown_as = shown_as or model
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
        usage = believable(ranking.usage)
        cost = self._cost(ranking if usage is ranking.usage else replace(ranking, usage=usage), len(request.documents))
        return replace(ranking, results=results, usage=usage, provider=self.provider, model=self.shown_as, cost=cost)
