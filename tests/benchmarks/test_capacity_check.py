"""The check of the capacity model: right where measurements are the model's own, and wrong where they are not."""

from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks import capacity
from benchmarks.capacity import Point
from gateway.capacity.simulation import Service, simulate

RATES = [200.0, 500.0, 1000.0]
ARGUMENTS = Namespace(rates=RATES, calibrate=500.0, documents=10, delay=20.0, rounds=3)
EXPECTED = capacity._expected(10)


def measured(rate: float, service: Service, stretch: float) -> Point:
    """What two such workers would have shown, 20 ms before an answer of the upstream."""
    point = Point(rate, 0.0, stretch, 0.0, 0.0)
    queue = capacity._queue(point, service)
    delays = simulate(queue, capacity.SIMULATED)
    assert delays is not None
    cpu = queue.utilisation * capacity.WORKERS / rate / stretch * 1e6
    return Point(rate, cpu, stretch, (0.02 + delays.p50) * 1e6, (0.02 + delays.p99) * 1e6)


def rounds(services: list[Service]) -> list[list[Point]]:
    """A round for each service; neighbours stretch it more and more. At last as many requests as the workers can do."""
    found = []
    for number, service in enumerate(services, 1):
        points = [measured(rate, service, 1 + number / 10) for rate in RATES]
        rate = capacity.WORKERS / service.seconds / 2
        found.append([*points, Point(rate, service.seconds * 1e6, 2.0, 0.0, 0.0)])
    return found


def test_the_models_own_figures_are_predicted() -> None:
    services = [capacity._slower(EXPECTED, seconds / EXPECTED.seconds) for seconds in (300e-6, 400e-6, 500e-6)]
    check = capacity._compare(ARGUMENTS, rounds(services), 0.0)
    for each in check.predictions:
        assert each.overloaded == 0
        assert [each.cpu, each.p50, each.p99] == pytest.approx([1, 1, 1], rel=0.01)
    assert [check.saturation.cpu, check.saturation.throughput] == pytest.approx([1, 1], rel=0.01)
    assert check.service == pytest.approx(400, rel=0.01)


def test_a_service_that_is_never_dearer_when_idle_is_found_out() -> None:
    services = [Service(400e-6)] * 3
    check = capacity._compare(ARGUMENTS, rounds(services), 0.0)
    assert check.saturation.cpu < 0.7
