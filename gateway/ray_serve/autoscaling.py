"""How many replicas a load needs. Nothing here knows Ray; Serve calls `policy`, and applies its own delays and bounds.

Requests do not tell the load, for one has ten documents and another a thousand. Queued tokens flap, since each replica
that is added halves what it was added for. The share of the time in which a device computes does neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Protocol

BUSY, WAITING = "busy_share", "waiting_seconds"
"""The names of a replica's load figures."""

TARGET_BUSY_SHARE = 0.8
"""Of the time, so that a burst finds room."""

MAX_WAITING_SECONDS = 2.0
"""Seconds of work that may wait for each replica."""

MAX_GROWTH = 2
"""At most so many times as many replicas at once: what waits was sent before the last ones came."""


class Context(Protocol):
    """What is used of Serve's `AutoscalingContext`.

    Attributes:
        aggregated_metrics: by the name of a figure, then by replica: its mean over the time that Serve looks back.
        target_num_replicas: how many there are to be by the last decision.
    """

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...

    @property
    def target_num_replicas(self) -> int: ...


def replicas_for(busy: Sequence[float], waiting: Sequence[float]) -> int:
    """The number of replicas for a load.

    Args:
        busy: of each replica, the share of the time in which it computes, 0 to 1.
        waiting: of each replica, the seconds of work that wait in its queue.

    Returns:
        At least 1: as many as keep each busy for TARGET_BUSY_SHARE; more where MAX_WAITING_SECONDS are exceeded.
    """
    # A sum such as 0.1 + 0.7 must not ask for one replica more by its last bit.
    wanted = max(1, ceil(round(sum(busy) / TARGET_BUSY_SHARE, 6)))
    present = max(len(busy), len(waiting), 1)
    if sum(waiting) / present > MAX_WAITING_SECONDS:
        wanted = max(wanted, ceil(min(sum(waiting) / MAX_WAITING_SECONDS, present * MAX_GROWTH)))
    return wanted


def policy(context: Context) -> tuple[int, dict[str, Any]]:
    """Serve's form of it: the number of replicas, and no state. While no replica has told its load, none is changed."""
    figures = context.aggregated_metrics or {}
    busy, waiting = figures.get(BUSY) or {}, figures.get(WAITING) or {}
    if not busy:
        return context.target_num_replicas, {}
    return replicas_for(list(busy.values()), list(waiting.values())), {}
