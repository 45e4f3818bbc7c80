"""How many replicas a load needs: by the share of the time in which they compute, and by what waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.ray_serve.autoscaling import BUSY, WAITING, policy, replicas_for

LOADS: dict[str, tuple[list[float], list[float], int]] = {
    # the busy share of each replica, its seconds of waiting, and how many there should be
    "nothing to do": ([0.0], [0.0], 1),
    "three with nothing to do": ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 1),
    "just as busy as one should be": ([0.8], [0.0], 1),
    "a little more": ([0.81], [0.0], 2),
    "busy all the time": ([1.0], [1.5], 2),
    "two that share what one had": ([0.6, 0.6], [0.1, 0.1], 2),
    "two for whom one is enough": ([0.35, 0.35], [0.0, 0.0], 1),
    "a sum that no float has exactly": ([0.1, 0.7], [0.0, 0.0], 1),
    "a queue that can wait": ([1.0], [2.0], 2),
    "a queue that cannot": ([1.0], [7.0], 2),
    "two with a queue that cannot": ([1.0, 1.0], [9.0, 3.0], 4),
    "an hour of work": ([1.0] * 4, [900.0] * 4, 8),
    "more than a number can say": ([1.0], [float("inf")], 2),
    "one with a queue among idle ones": ([0.1, 0.1, 0.1], [3.0, 0.0, 0.0], 1),
    "nobody has told anything": ([], [], 1),
}


@pytest.mark.parametrize(("busy", "waiting", "replicas"), LOADS.values(), ids=LOADS)
def test_how_many_a_load_needs(busy: list[float], waiting: list[float], replicas: int) -> None:
    assert replicas_for(busy, waiting) == replicas


def test_a_steady_load_has_a_number_that_stays() -> None:
    """A threshold on what waits would let it go up and down: each replica that comes halves what it came for."""
    work, present, numbers = 1.6, 1, []
    for _ in range(20):
        busy = min(1.0, work / present)
        waiting = max(0.0, 30.0 * (work / present - 1))
        present = replicas_for([busy] * present, [waiting] * present)
        numbers.append(present)
    assert numbers == [2] * 20


CONTEXTS: dict[str, tuple[dict[str, dict[str, float]] | None, int]] = {
    "no figures yet": (None, 3),
    "none of ours": ({"running_requests": {"a": 4.0}}, 3),
    "figures": ({BUSY: {"a": 1.0, "b": 0.9}, WAITING: {"a": 0.0, "b": 0.5}}, 3),
    "figures of one alone": ({BUSY: {"a": 0.2}, WAITING: {}}, 1),
}


@pytest.mark.parametrize(("figures", "replicas"), CONTEXTS.values(), ids=CONTEXTS)
def test_as_serve_asks(figures: Any, replicas: int) -> None:
    context = SimpleNamespace(aggregated_metrics=figures, target_num_replicas=3)
    assert policy(context) == (replicas, {})
