"""Limits of a key, a model or the whole gateway: rates, concurrent requests, and money."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field, field_validator

from gateway.access.counters import Charge, ReserveResult
from gateway.access.prices import NANO
from gateway.errors import BudgetSpent, Limited, LimitReached, TooMuch
from gateway.settings import Settings

HOLD_SECONDS = 300.0
"""After so long a request that never ended (its host died) no longer counts against `concurrency` in a shared store."""

Unit = Literal["requests", "documents", "tokens"]
AnyUnit = Unit | Literal["concurrency", "usd"]

_RATE = re.compile(r"([1-9][0-9]{0,14}) ?/ ?(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

RateText = Annotated[str, Field(examples=["600/minute"])]


class RateSettings(Settings):
    """Rate limits, each written `NUMBER/second`, `/minute`, `/hour` or `/day`, over a sliding window."""

    requests: RateText | None = Field(default=None, description="Requests, for example `600/minute`.")
    documents: RateText | None = Field(default=None, description="Documents, for example `10000/minute`.")
    tokens: RateText | None = Field(default=None, description="Tokens: estimated before the call, corrected after it.")

    @field_validator("requests", "documents", "tokens")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None and not _RATE.fullmatch(value):
            raise ValueError("must look like `600/minute`; the window is second, minute, hour or day")
        return value


class KeyLimitSettings(RateSettings):
    """Rate limits, and a limit of concurrent requests."""

    concurrency: int | None = Field(default=None, ge=1, le=1_000_000, description="Concurrent requests.")


class RateLimitSettings(KeyLimitSettings):
    """Limits of the gateway as a whole, and of single models."""

    models: dict[str, RateSettings] = Field(
        default={},
        description="Rate limits by `provider/model`; `*` matches any characters. All models that match share one.",
    )


class BudgetSettings(Settings):
    """Money that may be spent in each calendar period (UTC)."""

    usd: float = Field(gt=0, le=1_000_000, description="US dollars per period.")
    period: Literal["day", "week", "month"] = Field(default="month", description="How often the budget starts again.")
    warn_at: float = Field(
        default=0.8, gt=0, le=1, description="Share of the budget from which answers carry a warning header."
    )


class Limit(Struct, frozen=True):
    """One limit, ready to be charged.

    Attributes:
        owner: whose, for messages: `key "team"`, `the gateway`.
        unit: what is counted; `usd` in nano-dollars, `concurrency` in requests.
        maximum: of the unit, in the window or the period or at a time.
        seconds: of the window; 0 where there is none.
        words: the limit for messages: `1 request per minute`.
        key: of the counter; a budget's has the period's label behind it.
        headers: the names of the headers that tell of it.
        period, warn_at: of a budget.
    """

    owner: str
    unit: AnyUnit
    maximum: int
    seconds: int
    words: str
    key: str = ""
    headers: tuple[str, str, str] = ("", "", "")
    period: Literal["day", "week", "month"] = "month"
    warn_at: float = 1.0

    def charge(self, amount: int, now: datetime) -> Charge:
        """What to reserve for so much of the unit."""
        if self.unit == "usd":
            label, end = period(self.period, now)
            return Charge("budget", f"{self.key}:{label}", self.maximum, amount, keep_seconds=_until(end, now))
        if self.unit == "concurrency":
            return Charge("concurrency", self.key, self.maximum, 1, hold_seconds=HOLD_SECONDS)
        if self.unit == "tokens":
            amount = min(amount, self.maximum)
        return Charge("window", self.key, self.maximum, amount, window_seconds=self.seconds)

    def refusal(self, charge: Charge, reserved: ReserveResult, now: datetime) -> Limited:
        """The error for a caller whose request does not fit."""
        if self.unit == "usd":
            return self._budget_spent(charge, reserved, now)
        limited = f"{self.owner} is limited to {self.words}"
        if self.unit == "concurrency":
            return LimitReached(f"{limited}; wait for one to end", retry_after=1)
        if charge.amount > self.maximum:
            amount = counted(charge.amount, self.unit)
            return TooMuch(f"{limited}, and this request has {amount}; send fewer at once")
        return LimitReached(limited, retry_after=reserved.wait)

    def _budget_spent(self, charge: Charge, reserved: ReserveResult, now: datetime) -> Limited:
        _, end = period(self.period, now)
        left, cost = reserved.left[0] / NANO, charge.amount / NANO
        return BudgetSpent(
            f"{self.owner} has a budget of {self.words}, of which ${left:.6f} is left, and this request may cost "
            f"${cost:.6f}; the next period begins at {end:%Y-%m-%dT%H:%MZ}"
        )


def limits_of(owner: str, settings: RateSettings | None) -> tuple[Limit, ...]:
    """The limits in these settings. `owner` stands in messages, and in the keys of the counters."""
    limits = list(_rates(owner, settings)) if settings else []
    if isinstance(settings, KeyLimitSettings) and settings.concurrency:
        words = f"{counted(settings.concurrency, 'requests')} at a time"
        limits.append(_limit(owner, "concurrency", settings.concurrency, 0, words))
    return tuple(limits)


def key_limits(name: str, settings: RateSettings | None, budget: BudgetSettings | None) -> tuple[Limit, ...]:
    """The limits and the budget of the caller's key of that name."""
    counter, owner = f"key {name}", f'key "{name}"'
    limits = limits_of(counter, settings)
    if budget:
        words = f"${budget.usd:g} per {budget.period}"
        money = _limit(counter, "usd", round(budget.usd * NANO), 0, words)
        limits += (replace(money, period=budget.period, warn_at=budget.warn_at),)
    return tuple(replace(limit, owner=owner) for limit in limits)


def model_limits(config: RateLimitSettings | None, name: str) -> tuple[Limit, ...]:
    """The limits of every pattern that a `provider/model` matches."""
    models = config.models.items() if config else ()
    return tuple(
        limit
        for pattern, rates in models
        if fnmatchcase(name, pattern)
        for limit in limits_of(f'the model "{pattern}"', rates)
    )


def _rates(owner: str, settings: RateSettings) -> Iterable[Limit]:
    units: Sequence[Unit] = ("requests", "documents", "tokens")
    for unit in units:
        if match := _RATE.fullmatch(getattr(settings, unit) or ""):
            maximum, window = int(match[1]), match[2]
            yield _limit(owner, unit, maximum, _SECONDS[window], f"{counted(maximum, unit)} per {window}")


def _limit(owner: str, unit: AnyUnit, maximum: int, seconds: int, words: str) -> Limit:
    headers = (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    return Limit(owner, unit, maximum, seconds, words, f"{unit}:{seconds}:{owner}", headers)


def counted(number: int, unit: str) -> str:
    """A number of `requests`, `documents` or `tokens`, as a sentence says it: `1 request`, `2 requests`."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def period(name: str, now: datetime) -> tuple[str, datetime]:
    """The label of the calendar period (UTC) that contains this moment, and its end. Weeks begin on Monday."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "day":
        return f"{day:%Y-%m-%d}", day + timedelta(days=1)
    if name == "week":
        monday = day - timedelta(days=day.weekday())
        return f"{monday:%Y-%m-%d}w", monday + timedelta(days=7)
    first = day.replace(day=1)
    return f"{first:%Y-%m}", (first + timedelta(days=32)).replace(day=1)


def _until(end: datetime, now: datetime) -> int:
    return int((end - now).total_seconds()) + 86_400
