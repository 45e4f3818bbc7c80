"""What one name resolves to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from gateway.policy.fallback import Step
from gateway.policy.hedge import Hedge, HedgeBudget, HedgeSettings
from gateway.policy.strategy import Candidate, Order, Strategy, selection_policy


class Route(Struct, frozen=True):
    """What one name resolves to.

    Attributes:
        order: gives the candidates in the order to try them, anew for each request of a caller.
        fixed: the steps of every request, where they are always the same.
        hedge: when the second target is called beside the first; None never does.
        budget: how many such calls may be made; None where there is no hedge.
        paths: the `provider/model` of each candidate.
    """

    order: Order
    fixed: list[Step] | None = None
    hedge: HedgeSettings | None = None
    budget: HedgeBudget | None = None
    paths: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, candidates: Sequence[Candidate], strategy: Strategy = "ordered", hedge: HedgeSettings | None = None
    ) -> Route:
        """A route over these candidates, of which there is at least one."""
        order = selection_policy(strategy, candidates)
        paths = frozenset(candidate.path for candidate in candidates if candidate.path)
        if hedge is not None:
            return cls(order, hedge=hedge, budget=HedgeBudget(), paths=paths)
        is_fixed = strategy == "ordered" or len(candidates) == 1
        return cls(order, fixed=[candidate.step for candidate in candidates] if is_fixed else None, paths=paths)

    async def ready(self) -> bool:
        """Whether one of its targets could serve now."""
        return any([await candidate.step.backend.ready() for candidate in self.order("")])

    def steps(self, without: Collection[str] = (), caller: str = "") -> list[Step]:
        """The steps of one request: what to call, and what next if that fails.

        `without` are the `provider/model` of targets that the request has tried by then, `caller` is the name of the
        caller's key.
        """
        has_tried = not self.paths.isdisjoint(without)
        if self.fixed is not None and not has_tried:
            return self.fixed
        candidates = self.order(caller)
        if has_tried:
            candidates = [candidate for candidate in candidates if candidate.path not in without]
        steps = [candidate.step for candidate in candidates]
        if self.hedge is None or self.budget is None or len(steps) < 2:
            return steps
        first, second, *others = steps
        if not second.time_shares:
            return steps  # A target that answers at once would win every race.
        both = Hedge(first, second, self.hedge, candidates[0].latency, self.budget)
        return [Step(both, first.time_shares + second.time_shares), *others]
