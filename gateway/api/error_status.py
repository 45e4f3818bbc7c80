"""The table from error class to HTTP status."""

from __future__ import annotations

from gateway.errors import (
    BreakerOpen,
    BudgetSpent,
    ForeignOrigin,
    LimitReached,
    ModelNotAllowed,
    NotAdmin,
    PriceUnknown,
    StoreDown,
    TooLarge,
    TooMuch,
    Unauthorized,
    UnknownModel,
    UnreadableBody,
)
from providers import errors
from providers.errors import RerankError

STATUS: dict[type[RerankError], int] = {
    UnknownModel: 404,
    TooLarge: 413,
    UnreadableBody: 415,
    BreakerOpen: 503,
    Unauthorized: 401,
    ModelNotAllowed: 403,
    ForeignOrigin: 403,
    NotAdmin: 403,
    PriceUnknown: 403,
    LimitReached: 429,
    TooMuch: 413,
    BudgetSpent: 402,
    StoreDown: 503,
    errors.CallerError: 400,
    errors.Unreachable: 502,
    errors.TargetTimeout: 504,
    errors.BadAnswer: 502,
    errors.CredentialsRejected: 502,
    errors.RateLimited: 429,
    errors.TargetFailed: 502,
    errors.Overloaded: 429,
    errors.NotReady: 503,
    errors.TooLong: 413,
    errors.RerankError: 500,
}
"""The status of each error class; a class that is absent has the status of its nearest base class."""

PASSED_THROUGH: dict[type[RerankError], frozenset[int]] = {
    errors.Rejected: frozenset({400, 404, 413, 422, 498}),
    errors.TargetFailed: frozenset({503, 504}),
}
"""The upstream statuses that reach the caller unchanged, by error class."""


def status_of(error: RerankError) -> int:
    """The HTTP status that a caller gets for an error."""
    for kind, statuses in PASSED_THROUGH.items():
        if isinstance(error, kind) and error.status in statuses:
            return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
