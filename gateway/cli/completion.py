"""rerank-gateway completion"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import shtab

SHELLS = ("bash", "zsh", "fish")
FILES = ("file", "config", "data", "run_file", "qrels", "corpus", "queries", "baseline", "first", "second")
"""Arguments that take the name of a file."""


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options",
        description="Print a script for a shell that completes commands, options and files. For bash: "
        "source <(rerank-gateway completion bash); for zsh, after compinit: "
        'eval "$(rerank-gateway completion zsh)"; for fish: rerank-gateway completion fish | source.',
    )
    command.add_argument("shell", choices=SHELLS, help="the shell")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the script of `program`, the parser of the whole command line."""
    _complete_files(chosen.program)
    print(shtab.complete(chosen.program, shell=chosen.shell))
    return 0


def _complete_files(parser: ArgumentParser) -> None:
    for action in parser._actions:
        if action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        for inner in action.choices.values() if isinstance(action.choices, dict) else ():
            _complete_files(inner)
