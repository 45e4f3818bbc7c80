"""Charts as inline SVG: they are in the page itself, with nothing to load. Colours come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from msgspec import Struct

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 38
MAX_BARS = 150
"""Of a plot of differences: with more queries, neighbours share a bar, which shows their mean."""


class Point(Struct, frozen=True):
    """A mark in a scatter plot, with its interval upwards and its place among the series, which gives the colour."""

    name: str
    x: float
    y: float
    low: float
    high: float
    series: int


class Axis(Struct, frozen=True):
    """From values to pixels, in a straight line."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """About four round numbers."""
        step = _round_step((self.high - self.low) / 4 or 1.0)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def scatter(title: str, x_name: str, y_name: str, points: Sequence[Point], ceiling: float) -> str:
    """Points with their intervals, below a dashed line at the most that can be reached."""
    x = Axis(0.0, max((each.x for each in points), default=0.0) * 1.1 or 1.0, LEFT, WIDTH - RIGHT)
    lows, highs = [each.low for each in points], [ceiling, *(each.high for each in points)]
    margin = (max(highs) - min(lows)) * 0.08 or 0.05
    y = Axis(max(0.0, min(lows) - margin), max(highs) + margin, HEIGHT - BOTTOM, TOP)
    marks = [
        f'<g class="s{each.series}"><title>{escape(each.name)}: {each.x:.6g}, {each.y:.4f}</title>'
        f'<line x1="{x.at(each.x)}" x2="{x.at(each.x)}" y1="{y.at(each.low)}" y2="{y.at(each.high)}"/>'
        f'<circle cx="{x.at(each.x)}" cy="{y.at(each.y)}" r="5"/></g>'
        for each in points
    ]
    at = y.at(ceiling)
    line = f'<line class="ideal" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"><title>oracle</title></line>'
    return _chart(title, [*_frame(x, y, x_name, y_name), line, *marks])


def differences(title: str, y_name: str, values: Sequence[float]) -> str:
    """A bar for each query, from the largest win to the largest loss."""
    bars = _thin(sorted(values, reverse=True))
    reach = max((abs(value) for value in bars), default=0.0) or 1.0
    x = Axis(0.0, float(len(bars)), LEFT, WIDTH - RIGHT)
    y = Axis(-reach, reach, HEIGHT - BOTTOM, TOP)
    zero, width = y.at(0.0), max(0.5, (WIDTH - LEFT - RIGHT) / max(1, len(bars)) * 0.85)
    marks = [
        f'<rect class="{"win" if value > 0 else "loss"}" x="{x.at(number)}" width="{width:.1f}" '
        f'y="{min(zero, y.at(value))}" height="{abs(y.at(value) - zero):.1f}"/>'
        for number, value in enumerate(bars)
        if value
    ]
    line = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{zero}" y2="{zero}"/>'
    note = f"{len(values):,} queries, best first"
    return _chart(title, [*_frame(None, y, note, y_name), *marks, line])


def reliability(title: str, lines: Sequence[tuple[str, Sequence[tuple[float, float, int]]]]) -> str:
    """Mean probability against the part that is relevant; the diagonal is perfect. A line: its class and points."""
    x, y = Axis(0.0, 1.0, LEFT, WIDTH - RIGHT), Axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    marks = [f'<line class="ideal" x1="{x.at(0)}" y1="{y.at(0)}" x2="{x.at(1)}" y2="{y.at(1)}"/>']
    for style, points in lines:
        path = " ".join(f"{x.at(score)},{y.at(part)}" for score, part, _ in points)
        circles = "".join(
            f'<circle cx="{x.at(score)}" cy="{y.at(part)}" r="3.5"><title>{count:,} documents: score {score:.3f}, '
            f"relevant {part:.3f}</title></circle>"
            for score, part, count in points
        )
        marks.append(f'<g class="{style}"><polyline points="{path}"/>{circles}</g>')
    return _chart(title, [*_frame(x, y, "mean probability", "part that is relevant"), *marks])


def _chart(title: str, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _frame(x: Axis | None, y: Axis, x_name: str, y_name: str) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in y.ticks():
        at = y.at(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{LEFT - 5}" y="{at + 3.5}" text-anchor="end">{_number(value)}</text>'
    if x is not None:
        for value in x.ticks():
            yield f'<text x="{x.at(value)}" y="{bottom + 14}" text-anchor="middle">{_number(value)}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text class="name" x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>'
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 11 {middle})"'
    yield f'<text class="name" x="11" y="{middle}" text-anchor="middle" {turned}>{escape(y_name)}</text>'


def _number(value: float) -> str:
    """`2,000`, `0.25`: the rounding hides that steps such as 0.1 are not exact."""
    return f"{round(value, 6):,.6g}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= step * 0.999), 10 * power)


def _thin(values: Sequence[float]) -> list[float]:
    if len(values) <= MAX_BARS:
        return list(values)
    edges = [round(number * len(values) / MAX_BARS) for number in range(MAX_BARS + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
