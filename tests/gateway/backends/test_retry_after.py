"""How long a provider asks to be left alone: each form is read right or not at all, and none is believed for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.retry_after import MAX_RETRY_AFTER_SECONDS, rate_limit_reset, retry_after

NOW = 1_800_000_000.0
LONGEST = MAX_RETRY_AFTER_SECONDS


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)


def http_date(seconds: float) -> str:
    return format_datetime(at(seconds), usegmt=True)


FORMS: dict[str, tuple[str, float | None]] = {
    "seconds": ("30", 30.0),
    "a fraction": ("0.5", 0.5),
    "spaces around": ("  7 ", 7.0),
    "zero": ("0", 0.0),
    "negative": ("-5", 0.0),
    "a day": ("86400", LONGEST),
    "a year": ("31536000", LONGEST),
    "Unix time": (str(int(NOW) + 60), 60.0),
    "Unix time with a fraction": (str(NOW + 60.5), 60.5),
    "Unix time in milliseconds": (str(int(NOW * 1e3) + 60_000), 60.0),
    "Unix time in microseconds": (str(int(NOW * 1e6) + 60_000_000), 60.0),
    "Unix time in nanoseconds": (str(int(NOW * 1e9) + 60 * 10**9), 60.0),
    "Unix time in the past": (str(int(NOW) - 60), 0.0),
    "milliseconds in the past": (str(int(NOW * 1e3) - 60_000), 0.0),
    "Unix time in a year": (str(int(NOW) + 31536000), LONGEST),
    "no time at all": ("9" * 22, None),
    "minutes and seconds": ("1m30s", 90.0),
    "minutes and no seconds": ("6m0s", 360.0),
    "minutes": ("2m", 120.0),
    "hours": ("1h0m0s", 3600.0),
    "many hours": ("25h3m", LONGEST),
    "seconds with their unit": ("7.66s", 7.66),
    "milliseconds with their unit": ("250ms", 0.25),
    "seconds and milliseconds": ("1s500ms", 1.5),
    "a unit that nobody uses": ("3 fortnights", None),
    "no number before the unit": ("s", None),
    "HTTP date": (http_date(90), 90.0),
    "HTTP date in the past": (http_date(-90), 0.0),
    "HTTP date in a year": (http_date(31536000), LONGEST),
    "RFC 850 date": (at(90).strftime("%A, %d-%b-%y %H:%M:%S GMT"), 90.0),
    "asctime date": (at(90).strftime("%a %b %d %H:%M:%S %Y"), 90.0),
    "RFC 3339": (at(90).strftime("%Y-%m-%dT%H:%M:%SZ"), 90.0),
    "RFC 3339 with a zone": (at(90 + 7200).strftime("%Y-%m-%dT%H:%M:%S+02:00"), 90.0),
    "a date beyond time": ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    "words": ("soon", None),
    "NaN": ("nan", None),
    "infinite": ("inf", None),
    "an exponent": ("1e3", None),
    "underscores": ("1_000", None),
    "two values": ("30, 60", None),
    "empty": ("", None),
    "other digits": ("\u0663\u0660", None),
    "absurdly long": ("1" * 100_000, None),
}


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time", lambda: NOW)
        patched.setenv("TZ", "America/New_York")  # Dates without a zone must not be read in ours.
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(("header", "seconds"), FORMS.values(), ids=FORMS)
def test_every_form(header: str, seconds: float | None) -> None:
    wanted = None if seconds is None else pytest.approx(seconds)
    assert retry_after({"retry-after": header}) == wanted
    assert rate_limit_reset({"x-ratelimit-reset": header}) == wanted


HEADERS: dict[str, tuple[dict[str, str], float | None]] = {
    "none": ({}, None),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds win": ({"retry-after-ms": "10", "retry-after": "9"}, 0.01),
    "milliseconds that are Unix time": ({"retry-after-ms": str(int(NOW * 1e3) + 2000)}, 2.0),
    "a year of milliseconds": ({"retry-after-ms": "31536000000"}, LONGEST),
    "rubbish falls through": ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
    "a reset is no Retry-After": ({"x-ratelimit-reset": "3"}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), HEADERS.values(), ids=HEADERS)
def test_which_header_counts(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=80) | st.from_regex(r"[\dhms., :TZ+-]{1,40}", fullmatch=True))
def test_no_header_raises_or_asks_for_more_than_the_limit(header: str) -> None:
    seconds = retry_after({"retry-after": header})
    assert seconds is None or 0.0 <= seconds <= LONGEST
