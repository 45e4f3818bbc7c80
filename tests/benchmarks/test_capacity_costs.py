"""The costs that the documentation derives from measurements: right where the law behind them is known."""

from __future__ import annotations

import pytest

from docs.capacity import Waking, fit

RATES = [25.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1250.0]

LAWS: dict[str, tuple[float, float, float]] = {
    "waking, and caches that are lost": (0.6, 3.2, 0.015),
    "caches that are lost slowly": (0.2, 5.0, 0.080),
    "caches alone, lost soon": (0.0, 2.5, 0.004),
}


def measured(law: tuple[float, float, float], noise: list[float]) -> list[Waking]:
    """What workers would show that take 300 µs for a request when they are never idle."""
    wake, cold, cool = law
    points = []
    for rate, error in zip(RATES, noise, strict=True):
        busy = rate * 300e-6
        points.append(Waking(rate, busy, error * (1 + (1 - busy) * (wake + cold / (1 + cool * rate)))))
    return points


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_law_is_found_again(law: tuple[float, float, float]) -> None:
    assert fit(measured(law, [1.0] * 7)) == pytest.approx(law, abs=1e-6)


def test_noise_makes_no_cost_negative() -> None:
    wake, cold, _ = fit(measured((0.0, 2.5, 0.015), [1.0, 1.0, 1.05, 1.05, 0.9, 0.85, 0.8]))
    assert wake == 0
    assert cold == pytest.approx(2.5, rel=0.3)


def test_one_rate_is_not_enough() -> None:
    with pytest.raises(ValueError, match="needs several rates"):
        fit(measured((0.5, 2.5, 0.015), [1.0] * 7)[:1])


def test_noise_of_a_tenth_moves_no_point_by_more() -> None:
    law = LAWS["waking, and caches that are lost"]
    wake, cold, cool = fit(measured(law, [1.1, 0.9, 1.05, 0.95, 1.1, 0.9, 1.0]))
    for point in measured(law, [1.0] * 7):
        told = 1 + (1 - point.busy) * (wake + cold / (1 + cool * point.rate))
        assert told == pytest.approx(point.ratio, rel=0.1)
