"""Print a table in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from gateway.cli.terminal import fit, one_line, pad

MIN_LAST_WIDTH = 10
"""Cells that the last column keeps, however narrow the terminal is."""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lines of left-aligned columns, two spaces apart.

    Args:
        titles: one for each column.
        rows: as many cells each as there are titles. A cell is printed as one line, without control characters.
        width: cells of a line, to which the last column is cut; None cuts nothing.
    """
    lines = [[one_line(cell) for cell in line] for line in (titles, *rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(titles))]
    if width is not None:
        widths[-1] = min(widths[-1], max(width - sum(widths[:-1]) - 2 * (len(widths) - 1), MIN_LAST_WIDTH))
    return "\n".join("  ".join(_cells(line, widths)).rstrip() for line in lines)


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [pad(fit(cell, width), width) for cell, width in zip(line, widths, strict=True)]
