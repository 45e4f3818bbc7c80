"""How figures are written, however large or small they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.capacity.figures import bit_rate, dollars, duration, many, number

WRITTEN: dict[str, tuple[Callable[..., str], tuple[Any, ...], str]] = {
    "nothing": (duration, (0,), "0 µs"),
    "microseconds": (duration, (0.000532,), "532 µs"),
    "nearly a millisecond": (duration, (0.0009997,), "1 ms"),
    "milliseconds": (duration, (0.00132,), "1.32 ms"),
    "many milliseconds": (duration, (0.6523,), "652 ms"),
    "nearly a second": (duration, (0.9996,), "1 s"),
    "seconds": (duration, (59.24,), "59.2 s"),
    "days": (duration, (174_962.3,), "174,962 s"),
    "no bits": (bit_rate, (0,), "0 bit/s"),
    "hardly a bit": (bit_rate, (1e-15,), "0 bit/s"),
    "bits": (bit_rate, (0.000406,), "406 bit/s"),
    "nearly a kilobit": (bit_rate, (0.0009997,), "1 kbit/s"),
    "megabits": (bit_rate, (2.2,), "2.2 Mbit/s"),
    "terabits": (bit_rate, (40_560_000,), "40.6 Tbit/s"),
    "more than there is a unit for": (bit_rate, (8e15,), "8,000,000 Pbit/s"),
    "free": (dollars, (0,), "$0"),
    "hardly a cent": (dollars, (0.0003,), "less than $0.01"),
    "cents": (dollars, (0.117,), "$0.12"),
    "many dollars": (dollars, (1234.6,), "$1,235"),
    "a small price": (number, (0.0000001,), "0.0000001"),
    "a fraction": (number, (0.1 + 0.2,), "0.3"),
    "a round number": (number, (100_000_000.0,), "100,000,000"),
    "none": (number, (0,), "0"),
    "one": (many, (1, "host"), "1 host"),
    "no hosts": (many, (0, "host"), "0 hosts"),
    "thousands": (many, (2000, "core"), "2,000 cores"),
}


@pytest.mark.parametrize(("write", "values", "text"), WRITTEN.values(), ids=WRITTEN)
def test_a_figure_is_written_without_an_exponent(write: Callable[..., str], values: tuple[Any, ...], text: str) -> None:
    assert write(*values) == text
