"""GET /v1/usage: the usage of the caller's key, and with an admin key that of all."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime
from typing import Annotated, Any

from litestar import Request, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import Parameter
from msgspec import Struct, json

from gateway.access.counters import Row
from gateway.access.keys import ANYONE
from gateway.access.usage import MAX_PAGE_ROWS, UsageRow, days_between
from gateway.api import auth
from gateway.errors import NotAdmin, Unauthorized
from gateway.runtime.service import Service
from providers.errors import InvalidRequest

MAX_DAYS = 400
"""Days in one answer."""

Day = Annotated[date | None, Parameter(description="A day (UTC), such as 2026-11-20; default is today.")]
Key = Annotated[str | None, Parameter(description="The name of another key, or `*` for all; requires an admin key.")]


After = Annotated[
    str | None,
    Parameter(description=f"The `next` of the answer before: one has at most {MAX_PAGE_ROWS} rows.", max_length=4096),
]


class UsageList(Struct):
    """Usage by day, key and model.

    Attributes:
        next: to be sent as `after` for the rows that follow; null if there are none.
    """

    data: list[UsageRow]
    object: str = "list"
    next: str | None = None


def route(service: Service) -> HTTPRouteHandler:
    """The route."""

    @get("/v1/usage", summary="What a key used, by day and model", tags=["usage"])
    async def usage(
        request: Request[Any, Any, Any], first: Day = None, last: Day = None, key: Key = None, after: After = None
    ) -> UsageList:
        caller = auth.principal(service, request.scope["headers"])
        if caller is ANYONE:
            raise Unauthorized("usage is counted by key, and this gateway has no keys")
        if key not in (None, caller.name) and not caller.admin:
            raise NotAdmin("this key may only see its own usage; use an admin key to see that of others")
        if key not in (None, caller.name) and not auth.is_operators_address(service, request.scope):
            raise NotAdmin("the usage of other keys is only shown at the operators' address (server.admin)")
        wanted = None if key == "*" else key or caller.name
        page = await service.accounts.ledger.read(_days(first, last), wanted, _row(after))
        return UsageList(page.rows, next=None if page.next is None else _cursor(page.next))

    return usage


def _cursor(row: Row) -> str:
    return urlsafe_b64encode(json.encode(row)).decode()


def _row(cursor: str | None) -> Row | None:
    if cursor is None:
        return None
    try:
        day, key, model = json.decode(urlsafe_b64decode(cursor), type=Row)
    except ValueError:  # base64's and msgspec's errors
        raise InvalidRequest("`after` must be the `next` of an answer, unchanged") from None
    return day, key, model


def _days(first: date | None, last: date | None) -> list[str]:
    today = datetime.now(UTC).date()
    last = last or max(first or today, today)
    first = first or last
    if first > last:
        raise InvalidRequest("`first` must not be after `last`")
    if (last - first).days >= MAX_DAYS:
        raise InvalidRequest(f"`first` and `last` are more than {MAX_DAYS} days apart; ask for fewer")
    return days_between(first, last)
