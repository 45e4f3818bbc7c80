"""Figures as people read them: in a unit of their size, and never with an exponent."""

from __future__ import annotations

BIT_RATES = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s")
"""Each is a thousand of the one before."""

ROUNDED = 0.9995
"""Of a unit: from here on three digits would say a thousand of the smaller one."""


def number(value: float) -> str:
    """All of it, to ten digits behind the point: `1,000,000`, `0.002`."""
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def many(count: int, noun: str) -> str:
    """`1 host`, `2,000 hosts`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """Three digits: `532 µs`, `1.32 ms`, `2.5 s`; all before the point of more seconds than that."""
    if seconds < ROUNDED / 1000:
        return f"{seconds * 1e6:.0f} µs"
    return f"{_three_digits(seconds * 1000)} ms" if seconds < ROUNDED else f"{_three_digits(seconds)} s"


def bit_rate(megabits: float) -> str:
    """Three digits of what travels in a second: `3.2 bit/s`, `406 Mbit/s`."""
    value, unit = megabits * 1e6, 0
    while value >= ROUNDED * 1000 and unit < len(BIT_RATES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_three_digits(value)} {BIT_RATES[unit]}"


def dollars(amount: float) -> str:
    """`$1,234`, `$0.05`, `less than $0.01`."""
    if 0 < amount < 0.01:
        return "less than $0.01"
    return f"${amount:,.2f}" if 0 < amount < 100 else f"${amount:,.0f}"


def _three_digits(value: float) -> str:
    if value < 0.001:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
