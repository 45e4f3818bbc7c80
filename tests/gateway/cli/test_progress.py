"""Progress: a bar on a terminal that leaves nothing behind, few lines elsewhere, none for short work."""

from __future__ import annotations

import io

import pytest

from gateway.cli.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LINES: dict[str, tuple[list[tuple[float, int]], list[str]]] = {
    "short work says nothing": ([(1.0, 500), (2.0, 500)], []),
    "a line when ten seconds are over": ([(4.0, 100), (11.0, 150)], ["ranking documents: 250 of 1,000"]),
    "not more often, however many steps": (
        [(float(second), 40) for second in range(1, 26)],
        ["ranking documents: 400 of 1,000", "ranking documents: 800 of 1,000"],
    ),
}


@pytest.mark.parametrize(("steps", "lines"), LINES.values(), ids=LINES.keys())
def test_lines_without_a_terminal(steps: list[tuple[float, int]], lines: list[str]) -> None:
    times = iter([0.0, *(time for time, _ in steps)])
    output = io.StringIO()
    with progress("ranking documents", 1000, output, lambda: next(times)) as advance:
        for _, count in steps:
            advance(count)
    assert output.getvalue().splitlines() == lines


def test_a_terminal_shows_a_bar_and_is_clean_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = Terminal()
    with progress("ranking [bold]documents", 1000, output) as advance:
        advance(250)
        advance(750)
    shown = output.getvalue()
    assert "ranking [bold]documents" in shown
    assert "1000/1000" in shown
    assert shown.endswith("\x1b[2K"), "the bar's line is cleared"


def test_an_error_inside_passes_through_and_the_cursor_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    output = Terminal()

    def interrupted() -> None:
        with progress("ranking documents", 10, output) as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert output.getvalue().rindex("\x1b[?25h") > output.getvalue().rindex("\x1b[?25l")
