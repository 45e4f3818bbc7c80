"""Show how far long work has come: a bar on a terminal, else a line now and then. Always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_INTERVAL_SECONDS = 10.0
"""Seconds between two lines where there is no terminal. Work that takes less prints none."""

Advance = Callable[[int], None]
"""Told of that many further items that are done."""


@contextmanager
def progress(
    label: str, total: int, stream: TextIO | None = None, clock: Callable[[], float] = monotonic
) -> Iterator[Advance]:
    """Show progress while the block runs.

    Args:
        label: what is done and of what, such as `ranking documents`; never from callers or documents.
        total: how many items there are.
        stream: where to; the standard error stream if absent.
        clock: seconds that only grow.

    Yields:
        What is called with the number of items that have been done since the last call.
    """
    output = sys.stderr if stream is None else stream
    if not output.isatty():
        yield _lines(label, total, output, clock)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=output)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def _lines(label: str, total: int, output: TextIO, clock: Callable[[], float]) -> Advance:
    done, last = 0, clock()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = clock()
        if now - last >= LINE_INTERVAL_SECONDS:
            last = now
            print(f"{label}: {done:,} of {total:,}", file=output, flush=True)

    return advance
