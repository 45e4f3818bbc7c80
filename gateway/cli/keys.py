"""rerank-gateway keys"""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from gateway.access.keys import new_key


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser("keys", help="make keys for callers", description="Keys for callers.")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    new: ArgumentParser = actions.add_parser(
        "new",
        help="make a key",
        description="Make a key. It is printed once and kept nowhere: the configuration holds its hash.",
    )
    new.add_argument("name", metavar="NAME", type=_name, help="who it is for; letters, digits, dot, _ and -")
    new.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print a new key and the YAML that lets it in."""
    key, digest = new_key()
    print(f"{key}\n\nGive the line above to the caller; it cannot be shown again. Put this into the configuration:\n")
    print(f"auth:\n  keys:\n    - name: {chosen.name}\n      hash: {digest}")
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ArgumentTypeError(f'"{text}" is not a name of 1 to 64 letters, digits, dots, _ and -')
    return text
