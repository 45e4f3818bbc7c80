"""Columns on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(title: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under their titles, two spaces apart."""
    lines = [title, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(title))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
