"""One target of a route: sends the provider's own model name, verifies the answer, and records the attempt."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from typing import Protocol

from msgspec.structs import replace

from gateway.errors import AttemptsSpent
from gateway.policy.target_facts import NO_FACTS, TargetFacts
from gateway.policy.target_id import TargetId
from gateway.policy.verification import plausible_usage, verify, verify_spans
from gateway.policy.wrapper import Wrapper
from providers.errors import RerankError, TargetFailed, TargetTimeout
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)


class Cost(Protocol):
    """What calls of a target cost, in US dollars; None if the price is unknown."""

    def of(self, ranking: Ranking, documents: int) -> float | None:
        """What an answer cost to a request of so many documents."""
        ...

    def at_most(self, request: RerankRequest) -> float | None:
        """What a call can cost whose answer never came."""
        ...


class Target(Wrapper):
    """One target of a route.

    Args:
        backend: the provider's, or the local model.
        target: the provider, the name that it knows the model by, and at which address.
        alias: the configuration's name that leads here, which answers show; None shows the provider's name.
        cost: what its calls cost; None if that is unknown.
        facts: what is known of its model.
        is_instant: it is a pure function, which no limit on attempts needs to hold off.
    """

    def __init__(
        self,
        backend: Backend,
        target: TargetId,
        alias: str | None = None,
        cost: Cost | None = None,
        facts: TargetFacts = NO_FACTS,
        *,
        is_instant: bool = False,
    ) -> None:
        super().__init__(backend)
        self.provider, self.model, self._address = target.provider, target.model, target.address
        self.alias = alias or ""
        self._cost = cost
        self._facts = facts
        self._is_instant = is_instant

    async def rerank(self, request: RerankRequest) -> Ranking:
        """A verified ranking. Raises RerankError; a fault of our own becomes TargetFailed, so that it falls back."""
        if not self._is_instant and not await request.call.take_attempt():
            raise self._skip(request)
        attempt = request.call.recorder.begin_attempt(self.provider, self.model)
        attempt.address = self._address
        cost: float | None = None
        try:
            sent = self._facts.without_what_it_ignores(request) if request.instruction else request
            ranking = await self.backend.rerank(replace(sent, model=self.model, attempt=attempt))
            usage = plausible_usage(ranking.usage)
            cost = self._answer_cost(ranking if usage is ranking.usage else replace(ranking, usage=usage), request)
            results = verify(ranking.results, request)  # after the cost: an unusable answer is billed like any other
        except RerankError as error:
            cost = self._max_cost(request) if isinstance(error, TargetTimeout) else cost
            attempt.finish_all(error.status, error.message, error.code, cost=cost)
            raise
        except CancelledError:
            attempt.finish_all(None, "cancelled", "cancelled", cost=self._max_cost(request))
            raise
        except Exception:
            logger.exception("internal error in provider %s", self.provider)
            attempt.finish_all(None, "internal error", "internal_error", cost=cost)
            raise TargetFailed(f"internal error in provider {self.provider}") from None
        attempt.finish_all(200, None, "", ranking.details, cost)
        has_wishes = request.instruction or request.return_spans
        spans = None
        if request.return_spans:
            spans, warnings = verify_spans(ranking, results, request.documents)
            ranking = replace(ranking, warnings=warnings)
        return replace(
            ranking,
            results=results,
            usage=usage,
            provider=self.provider,
            model=self.model,
            cost=cost,
            alias=self.alias,
            score_space=self._facts.score_space(ranking, request),
            # Nearly all requests ask for neither, and are spared the calls.
            warnings=self._facts.warnings(ranking, request) if has_wishes else ranking.warnings,
            spans=spans,
        )

    def _answer_cost(self, ranking: Ranking, request: RerankRequest) -> float | None:
        return self._cost.of(ranking, len(request.documents)) if self._cost else None

    def _max_cost(self, request: RerankRequest) -> float | None:
        return self._cost.at_most(request) if self._cost else None

    def _skip(self, request: RerankRequest) -> AttemptsSpent:
        error = AttemptsSpent("this request has made as many attempts as request_limits.attempts allows")
        request.call.recorder.add_skip(self.provider, self.model, error)
        return error
