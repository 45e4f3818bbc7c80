"""How charges are named and timed in Valkey or Redis, by the scripts that reserve and settle them."""

from __future__ import annotations

from gateway.access.counters import Charge
from gateway.access.valkey_client import PREFIX

KEEP_SECONDS = 40 * 86_400
"""For so long the store knows since when it has its data, and what a process has had settled: longer than it keeps any
counter, of which a month's budget lasts longest."""

SINCE = f"{PREFIX}since"
"""The key of the time since when the store has its data: what was reserved before was lost."""


def key_of(charge: Charge) -> str:
    """The key of its counter."""
    return PREFIX + charge.key


def seconds_of(charge: Charge) -> float:
    """The one duration that a charge of its kind has."""
    return charge.window_seconds or charge.keep_seconds or charge.hold_seconds
