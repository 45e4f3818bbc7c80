"""What one request took from limits and budgets, and how it is set right when the outcome is known."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

from msgspec import Struct

from gateway.access.counters import Charge, ReserveResult, Store
from gateway.access.limits import Limit
from gateway.access.prices import NANO, estimate_tokens, tokens_of
from gateway.errors import Limited
from providers.errors import RerankError, TargetTimeout
from providers.types import Ranking, RerankRequest

Headers = dict[str, str]

_process = uuid4().hex
_numbers = count()


async def reserve(store: Store, limits: tuple[Limit, ...], request: RerankRequest, cost: int = 0) -> Reservation:
    """Take from all limits or from none.

    Args:
        store: where they are counted.
        limits: at least one.
        request: what is asked.
        cost: nano-dollars that it can cost at most.

    Raises:
        Limited: for the first limit that does not allow it.
        StoreDown: the store cannot be asked, and the configuration says to refuse then.
    """
    now = datetime.now(UTC)
    charges = [limit.charge(_amount(limit, request, cost), now) for limit in limits]
    seat = f"{_process}:{next(_numbers)}"  # Never the caller's own request id: two requests may carry the same.
    taken = await store.reserve(charges, seat)
    if taken.refused < 0:
        return Reservation(limits, charges, taken, seat)
    raise _refused(limits[taken.refused], charges[taken.refused], taken, now)


def _refused(limit: Limit, charge: Charge, taken: ReserveResult, now: datetime) -> Limited:
    error = limit.refusal(charge, taken, now)
    error.headers = rate_headers(limit, taken.left[0])
    return error


async def run_and_settle(store: Store, ticket: Reservation, ranking: Awaitable[Ranking]) -> Ranking:
    """Await the ranking, and set right what was taken for it, whatever happens.

    An error gives back the money. A timeout and a caller who hangs up do not: the target may have billed the answer.
    """
    try:
        answer = await ranking
    except BaseException as error:
        free = isinstance(error, RerankError) and not isinstance(error, TargetTimeout)
        await _settle(store, ticket, None, keep_money=not free)
        raise
    await _settle(store, ticket, answer, keep_money=False)
    return answer


async def _settle(store: Store, ticket: Reservation, ranking: Ranking | None, *, keep_money: bool) -> None:
    if not ticket.taken.left:
        return  # The store was down, and nothing was taken that could be given back.
    if corrections := ticket.corrections(ranking, keep_money=keep_money):
        await store.settle(corrections, ticket.holder_id, ticket.taken.at)


def _amount(limit: Limit, request: RerankRequest, cost: int) -> int:
    match limit.unit:
        case "documents":
            return len(request.documents)
        case "tokens":
            return estimate_tokens(request)
        case "usd":
            return cost
    return 1


class Reservation(Struct):
    """What one request took.

    Attributes:
        limits, charges: side by side.
        taken: the store's answer.
        seat: the request's name in the store.
    """

    limits: tuple[Limit, ...]
    charges: list[Charge]
    taken: ReserveResult
    holder_id: str

    def corrections(self, ranking: Ranking | None, *, keep_money: bool) -> list[Charge]:
        """What to add, or give back, once the outcome is known."""
        found = []
        for limit, charge in zip(self.limits, self.charges, strict=True):
            actual = self._actual(limit, charge, ranking, keep_money=keep_money)
            if actual != charge.amount:
                found.append(Charge(charge.kind, charge.key, charge.limit, actual - charge.amount, charge.span))
        return found

    def _actual(self, limit: Limit, charge: Charge, ranking: Ranking | None, *, keep_money: bool) -> int:
        """What the charge should have been."""
        if limit.unit == "concurrency":
            return 0
        if limit.unit == "tokens" and ranking is not None:
            tokens = tokens_of(ranking)
            return charge.amount if tokens is None else tokens
        if limit.unit == "usd" and not keep_money:
            return self._cost(charge, ranking)
        return charge.amount

    def _cost(self, charge: Charge, ranking: Ranking | None) -> int:
        if ranking is None:
            return 0
        return charge.amount if ranking.cost is None else round(ranking.cost * NANO)

    def headers(self) -> Headers:
        """`x-ratelimit-*` of the tightest limit of each unit, and the warning that a budget is nearly spent."""
        found: Headers = {}
        tightest: dict[str, int] = {}
        for limit, left in zip(self.limits, self.taken.left, strict=False):
            if limit.unit == "usd":
                found.update(_budget_headers(limit, left))
            elif left < tightest.get(limit.unit, limit.most + 1):
                tightest[limit.unit] = left
                found.update(rate_headers(limit, left))
        return found


def rate_headers(limit: Limit, left: int) -> Headers:
    """The three headers of one limit: what it is, what is left, and after how many seconds all of it is."""
    if limit.unit == "usd":
        return _budget_headers(limit, left)
    most, remaining, reset = limit.headers
    found = {most: str(limit.most), remaining: str(left)}
    if limit.seconds:
        found[reset] = str(limit.seconds)
    return found


def _budget_headers(limit: Limit, left: int) -> Headers:
    spent = 1 - left / limit.most
    if spent < limit.warn_at:
        return {}
    return {"x-budget-warning": f"{100 * spent:.1f}% of {limit.words} is spent"}
