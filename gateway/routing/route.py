"""What one name resolves to."""

from __future__ import annotations

from msgspec import Struct

from gateway.policy.fallback import Step
from gateway.policy.hedge import Hedge, HedgeBudget, HedgeSettings
from gateway.policy.strategy import Order


class Route(Struct, frozen=True):
    """What one name resolves to.

    Attributes:
        order: its targets in the order of trying, anew for each request.
        fixed: the walk, where it is the same for all requests.
        hedge: if and when the second is asked beside the first.
    """

    order: Order
    fixed: list[Step] | None = None
    hedge: HedgeSettings | None = None
    budget: HedgeBudget | None = None

    async def ready(self) -> bool:
        """Whether one of its targets could serve now."""
        return any([await choice.step.backend.ready() for choice in self.order()])

    def steps(self) -> list[Step]:
        """The walk of one request through this route."""
        if self.fixed is not None:
            return self.fixed
        choices = self.order()
        steps = [choice.step for choice in choices]
        if self.hedge is None or self.budget is None or len(steps) < 2:
            return steps
        first, second, *rest = steps
        if not second.time_shares:
            return steps  # What answers at once would always win.
        pair = Hedge(first.backend, second.backend, self.hedge, choices[0].latency, self.budget)
        return [Step(pair, first.time_shares + second.time_shares), *rest]
