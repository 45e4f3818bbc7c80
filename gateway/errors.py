"""The gateway's own leaves of the error tree (its root and the targets' leaves are in `providers.errors`).

CallerError
├── UnknownModel        404  the name resolves to nothing
├── Unauthorized        401  no key, or one that is not known
├── ModelNotAllowed     403  the key may not use that model
└── TooLarge            413  one of the gateway's limits, named
TargetError
├── BreakerOpen         503  the target failed too often and is left alone for a while
└── TargetTimeout
    └── DeadlineExceeded  504  the whole call's time is over
ConfigError             not a RerankError: raised before the port opens
CallerGone              not a RerankError: nobody is left to answer
"""

from __future__ import annotations

from msgspec import Struct

from providers.errors import CallerError, TargetError, TargetTimeout


class UnknownModel(CallerError):
    """The name resolves to no route."""

    code = "unknown_model"


class Unauthorized(CallerError):
    """There is no key, or it is unknown or has expired."""

    code = "unauthorized"


class ModelNotAllowed(CallerError):
    """The key may not use that model, or one of the fallbacks."""

    code = "model_not_allowed"


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
