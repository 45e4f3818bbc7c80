"""`rerank-gateway keys`: create API keys for callers."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from gateway.access.keys import new_key


def add_to(commands: Any, path: str | None) -> None:
    """Declare the command's arguments."""
    command: ArgumentParser = commands.add_parser(
        "keys", help="create API keys for callers", description="API keys for callers."
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    new: ArgumentParser = actions.add_parser(
        "new",
        help="create a key",
        description="Create a key. It is printed once and stored nowhere; the configuration holds only its hash.",
    )
    new.add_argument(
        "name", metavar="NAME", type=_name, help="a name for the caller, of letters, digits, dots, _ and -"
    )
    new.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print a new key, and the lines of YAML that accept it."""
    key, digest = new_key()
    print(f"{key}\n\nGive the key above to the caller; it cannot be shown again. Add this to the configuration:\n")
    print(f"auth:\n  keys:\n    - name: {options.name}\n      hash: {digest}")
    return 0


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ArgumentTypeError(f'"{text}" is not a name of 1 to 64 letters, digits, dots, _ and -')
    return text
