"""The gateway's own leaves of the error tree (its root and the targets' leaves are in `providers.errors`).

CallerError
├── UnknownModel        404  the name resolves to nothing
├── Unauthorized        401  no key, or one that is not known
├── ModelNotAllowed     403  the key may not use that model
├── NotAdmin            403  that takes an admin key
├── PriceUnknown        403  the key has a budget, and the model no price
├── TooLarge            413  one of the gateway's limits, named
└── Limited                  a limit on the key, the model or the gateway does not allow the request
    ├── LimitReached    429  now; later it may
    ├── TooMuch         413  nor ever will
    └── BudgetSpent     402  until the next period
TargetError
├── BreakerOpen         503  the target failed too often and is left alone for a while
└── TargetTimeout
    └── DeadlineExceeded  504  the whole call's time is over
StoreDown               503  the store of limits and budgets cannot be reached
ConfigError             not a RerankError: raised before the port opens
CallerGone              not a RerankError: nobody is left to answer
"""

from __future__ import annotations

from msgspec import Struct

from providers.errors import CallerError, RerankError, TargetError, TargetTimeout


class UnknownModel(CallerError):
    """The name resolves to no route."""

    code = "unknown_model"


class Unauthorized(CallerError):
    """There is no key, or it is unknown or has expired."""

    code = "unauthorized"


class ModelNotAllowed(CallerError):
    """The key may not use that model, or one of the fallbacks."""

    code = "model_not_allowed"


class NotAdmin(CallerError):
    """That takes an admin key."""

    code = "not_admin"


class PriceUnknown(CallerError):
    """The key has a budget, which cannot be kept for a model without a price."""

    code = "price_unknown"


class Limited(CallerError):
    """A limit of ours does not allow the request. `headers` tell the caller where it stands."""

    headers: dict[str, str] = {}


class LimitReached(Limited):
    """Too much for now."""

    code = "limit_reached"


class TooMuch(Limited):
    """More at once than the limit will ever allow."""

    code = "limit_too_small"


class BudgetSpent(Limited):
    """The money of this period does not suffice."""

    code = "budget_spent"


class StoreDown(RerankError):
    """The store of limits and budgets cannot be reached."""

    code = "store_down"


class TooLarge(CallerError):
    """The request exceeds one of the gateway's limits."""

    code = "too_large"


class BreakerOpen(TargetError):
    """The target was not asked: it failed too often and is left alone for a while."""

    code = "breaker_open"


class DeadlineExceeded(TargetTimeout):
    """The time allowed for the whole call is over."""

    code = "deadline_exceeded"
    retryable = False


class CallerGone(Exception):
    """The caller hung up; there is nobody to answer."""


class Problem(Struct, frozen=True, order=True):
    """One thing wrong in a configuration: `path` is where in the YAML (`providers.cohere.api_key`), "" for the file."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """The configuration cannot be used. `problems` lists everything that is wrong with it, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
