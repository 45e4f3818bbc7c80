"""The gateway's own exceptions, and the HTTP status of each. `providers.errors` has the base classes and the targets'.

CallerError
├── UnknownModel        404  no model has that name
├── Unauthorized        401  the API key is unknown or expired
│   └── KeyMissing      401  there is none
├── ModelNotAllowed     403  the key is not allowed to use the model
├── ForeignOrigin       403  a page of another origin calls, and no keys are asked for
├── NotAdmin            403  the operation requires an admin key
├── PriceUnknown        403  the key has a budget, but the model has no price
├── TooLarge            413  the request is over one of the limits on sizes
├── UnreadableBody      415  the request body has a content coding that is not read
└── Limited                  a limit on the key, the model or the gateway forbids the request:
    ├── LimitReached    429  for now
    ├── TooMuch         413  at any time: it asks for more than the limit itself
    └── BudgetSpent     402  until the budget's next period
TargetError
├── Skipped                  the target was not called; if nothing else serves, it is called all the same
│   ├── BreakerOpen     503  it failed too often
│   ├── KeysCooling     429  the provider limits all our keys (also a RateLimited)
│   └── KeysRejected    502  the provider refuses all our keys (also a CredentialsRejected)
├── Overloaded
│   └── AttemptsSpent   429  the request has made all the attempts that it may
└── TargetTimeout
    └── DeadlineExceeded  504  the deadline of the whole request has passed
StoreDown               503  the store of limits and budgets cannot be reached
ConfigError             not a RerankError: the configuration is invalid
CallerGone              not a RerankError: the caller has disconnected
"""

from __future__ import annotations

from msgspec import Struct

from providers.errors import (
    CallerError,
    CredentialsRejected,
    Overloaded,
    RateLimited,
    RerankError,
    TargetError,
    TargetTimeout,
)


class UnknownModel(CallerError):
    """No model, alias or provider has that name.

    Args:
        message: see RerankError. It names no other model: whoever knows what the caller may use adds those.
        model: the name.
    """

    code = "unknown_model"

    def __init__(self, message: str, model: str = "") -> None:
        super().__init__(message)
        self.model = model


class Unauthorized(CallerError):
    """The API key is unknown or expired, or missing."""

    code = "unauthorized"


class KeyMissing(Unauthorized):
    """The request has no API key."""


class ModelNotAllowed(CallerError):
    """The key is not allowed to use the model or one of its fallbacks."""

    code = "model_not_allowed"


class ForeignOrigin(CallerError):
    """The request comes from a web page that may not call the gateway."""

    code = "foreign_origin"


class NotAdmin(CallerError):
    """The operation requires an admin key."""

    code = "not_admin"


class PriceUnknown(CallerError):
    """The key has a budget, which cannot be enforced for a model without a price."""

    code = "price_unknown"


class Limited(CallerError):
    """One of the gateway's limits forbids the request. `headers` are for the response: what is left, and until when."""

    headers: dict[str, str] = {}


class LimitReached(Limited):
    """The limit is used up for now; the same request may succeed later."""

    code = "limit_reached"


class TooMuch(Limited):
    """The request alone is more than the limit allows, so it can never succeed."""

    code = "limit_too_small"


class BudgetSpent(Limited):
    """What is left of the budget in this period does not cover the request."""

    code = "budget_spent"


class StoreDown(RerankError):
    """The store of limits and budgets cannot be reached."""

    code = "store_down"


class TooLarge(CallerError):
    """The request is over one of the gateway's limits on sizes."""

    code = "too_large"


class Skipped(TargetError):
    """The target was not called. If no other target serves, it is called all the same: see `Call.bypass_cooldowns`."""


class BreakerOpen(Skipped):
    """The target failed too often recently."""

    code = "breaker_open"


class KeysCooling(Skipped, RateLimited):
    """The provider has limited all our keys for now. `retry_after` is the time until the next one may be used."""

    code = RateLimited.code


class KeysRejected(Skipped, CredentialsRejected):
    """The provider has refused all our keys. `retry_after` is the time until the next one is tried."""

    code = CredentialsRejected.code


class AttemptsSpent(Overloaded):
    """The request has made all the attempts that it may. It says nothing of the target."""

    code = Overloaded.code


class DeadlineExceeded(TargetTimeout):
    """The deadline of the whole request has passed."""

    code = "deadline_exceeded"
    retryable = False


class UnreadableBody(CallerError):
    """The request body has a content coding that the gateway does not read."""

    code = "unsupported_media_type"


class CallerGone(Exception):
    """The caller has disconnected, so no response can be sent."""


class Problem(Struct, frozen=True, order=True):
    """One error in a configuration.

    Attributes:
        path: its place in the YAML, such as `providers.cohere.api_key`; "" for the file as a whole.
        message: what is wrong, and what to write instead.
        line: of the file, from 1; 0 if there is none.
    """

    path: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        line = f"line {self.line}, " if self.line else ""
        return f"{line}{self.path}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """The configuration is invalid.

    Args:
        problems: all that were found, not only the first.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
