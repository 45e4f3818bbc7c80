"""How long a provider asks to be left alone, in every way in which providers write it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_SECONDS = 3600.0
"""Longest time that is believed. A header that asks for more, such as a year, is read as this."""

MAX_HEADER_LENGTH = 64
"""Characters of the longest header that is read: every known form is shorter."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
"""As Go writes them (time.Duration.String), for example OpenAI and Groq: `6m0s`, `1h2m3.5s`, `250ms`."""

_UNITS = (3600.0, 60.0, 1.0, 0.001)

_FIRST_EPOCH = 1e9
"""Seconds, that is 31 years: a larger number is no wait but a moment, in Unix time."""

_EPOCHS = ((_FIRST_EPOCH, 1.0), (1e11, 1e3), (1e14, 1e6), (1e17, 1e9), (1e20, 0.0))
"""Unix time: from which number on it is in so many parts of a second; from the last one on it is no time at all."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the next attempt by `retry-after-ms`, else by `retry-after` (RFC 9110 section 10.2.3).

    None if neither says so in a form that can be understood. Of the forms below, every header may have any.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"), unit=0.001)
    return milliseconds if milliseconds is not None else _seconds(headers.get("retry-after"))


def rate_limit_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the rate limit is reset, by `x-ratelimit-reset`; None if it is not understood.

    It has no standard, and many send it with every answer: it means something with a 429 only.
    """
    return _seconds(headers.get("x-ratelimit-reset"))


def _seconds(text: str | None, unit: float = 1.0) -> float | None:
    """Seconds from now: a number of units, Unix time in seconds or finer, a duration, or a date."""
    text = (text or "").strip()
    if not text or len(text) > MAX_HEADER_LENGTH or not text.isascii():
        return None
    if _NUMBER.fullmatch(text):
        seconds = _from_number(float(text), unit)
    elif duration := _DURATION.fullmatch(text):
        seconds = sum(float(part or 0) * scale for part, scale in zip(duration.groups(), _UNITS, strict=True))
    else:
        seconds = _until(text)
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _from_number(value: float, unit: float) -> float | None:
    if value * unit < _FIRST_EPOCH:
        return value * unit
    parts = [parts for least, parts in _EPOCHS if value >= least][-1]
    return value / parts - time.time() if parts else None


def _until(date: str) -> float | None:
    """Seconds until an HTTP date (RFC 9110 section 5.6.7) or one of RFC 3339; a date without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(date) if date[:4].isdigit() and ":" in date else parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
