"""Reserve quota before a request, and settle it when the outcome is known."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from gateway import blocking
from gateway.access.counters import Charge, ReserveResult, Store
from gateway.access.limits import Limit
from gateway.access.prices import NANO, estimate_tokens, tokens_of
from gateway.errors import Limited
from providers.errors import RerankError, TargetTimeout
from providers.types import Ranking, RerankRequest

Headers = dict[str, str]

Outcome = Ranking | BaseException
"""How a request ended: with a ranking, or with what was raised, a cancellation included."""


class Reservation(Struct, frozen=True):
    """What one request has reserved. Whoever reserved it settles it, once, however the request ends.

    Attributes:
        store: where it was reserved.
        limits, charges: side by side.
        reserved: the store's answer.
    """

    store: Store
    limits: tuple[Limit, ...]
    charges: list[Charge]
    reserved: ReserveResult

    async def settle(self, outcome: Outcome, *, was_called: bool = True, further_cost: int = 0) -> None:
        """Replace what was reserved by what was used, and end the request's share of `concurrency`.

        Args:
            outcome: how the request ended.
            was_called: whether any target was called; if not, all is given back.
            further_cost: nano-dollars of the attempts that did not serve.

        Raises nothing of its own. If it is cancelled, the store still settles.
        """
        if not self.reserved.left:
            return  # The store was down when it was asked to reserve, so there is nothing to correct.
        if corrections := self._corrections(outcome, was_called, further_cost):
            await self.store.settle(corrections, self.reserved)

    def headers(self) -> Headers:
        """`x-ratelimit-*` of the tightest limit of each unit, and the warning that a budget is nearly spent."""
        headers: Headers = {}
        tightest: dict[str, int] = {}
        for limit, left in zip(self.limits, self.reserved.left, strict=False):
            if limit.unit == "usd":
                headers.update(_budget_headers(limit, left))
            elif left < tightest.get(limit.unit, limit.maximum + 1):
                tightest[limit.unit] = left
                headers.update(_limit_headers(limit, left))
        return headers

    def _corrections(self, outcome: Outcome, was_called: bool, further_cost: int) -> list[Charge]:
        """The difference between used and reserved, for each charge where there is one."""
        corrections = []
        for limit, charge in zip(self.limits, self.charges, strict=True):
            used = _usage(limit, charge.amount, outcome) if was_called else 0
            if limit.unit == "usd":
                used = used + further_cost if isinstance(outcome, Ranking) else max(used, further_cost)
            difference = used - charge.amount
            if difference:
                corrections.append(replace(charge, amount=difference))
        return corrections


async def reserve(store: Store, limits: tuple[Limit, ...], request: RerankRequest, cost: int = 0) -> Reservation:
    """Reserve from all limits, or from none.

    Args:
        store: where they are counted.
        limits: at least one.
        request: what is asked.
        cost: the most that it can cost, in nano-dollars.

    Raises:
        Limited: for the first limit that does not allow it.
        StoreDown: the store cannot be asked, and the configuration says to refuse then.
    """
    now = datetime.now(UTC)
    charge = partial(_charges, limits, request, cost, now)
    charges = await blocking.run(request.call.body_bytes, charge)
    reserved = await store.reserve(charges)
    if reserved.refused < 0:
        return Reservation(store, limits, charges, reserved)
    raise _refusal(limits[reserved.refused], charges[reserved.refused], reserved, now)


def _charges(limits: tuple[Limit, ...], request: RerankRequest, cost: int, now: datetime) -> list[Charge]:
    return [limit.charge(_estimate(limit, request, cost), now) for limit in limits]


def _estimate(limit: Limit, request: RerankRequest, cost: int) -> int:
    """What the request will use of a limit, as far as that is known before it is answered."""
    match limit.unit:
        case "documents":
            return len(request.documents)
        case "tokens":
            return estimate_tokens(request)
        case "usd":
            return cost
    return 1


def _usage(limit: Limit, reserved: int, outcome: Outcome) -> int:
    """What the request has used of a limit, of which it had reserved so much."""
    match limit.unit:
        case "concurrency":
            return 0
        case "usd":
            return _expense(reserved, outcome)
        case "tokens":
            tokens = tokens_of(outcome) if isinstance(outcome, Ranking) else None
            return reserved if tokens is None else tokens
    return reserved


def _expense(reserved: int, outcome: Outcome) -> int:
    """Nano-dollars to be paid.

    An error costs nothing. After a timeout, or when the caller hung up, the target may still bill the answer, so all of
    the reservation is spent.
    """
    if isinstance(outcome, Ranking):
        return reserved if outcome.cost is None else round(outcome.cost * NANO)
    is_free = isinstance(outcome, RerankError) and not isinstance(outcome, TargetTimeout)
    return 0 if is_free else reserved


def _refusal(limit: Limit, charge: Charge, reserved: ReserveResult, now: datetime) -> Limited:
    error = limit.refusal(charge, reserved, now)
    error.headers = _limit_headers(limit, reserved.left[0])
    return error


def _limit_headers(limit: Limit, left: int) -> Headers:
    """The three headers of one limit: what it is, what is left, and after how many seconds all of it is."""
    if limit.unit == "usd":
        return _budget_headers(limit, left)
    name, remaining, reset = limit.headers
    headers = {name: str(limit.maximum), remaining: str(left)}
    if limit.seconds:
        headers[reset] = str(limit.seconds)
    return headers


def _budget_headers(limit: Limit, left: int) -> Headers:
    share = 1 - left / limit.maximum
    if share < limit.warn_at:
        return {}
    return {"x-budget-warning": f"{100 * share:.1f}% of {limit.words} is spent"}
