"""`rerank-gateway keys`: API keys for callers."""

from __future__ import annotations

import getpass
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.access.keys import CallerKeySettings, hash_of, new_key
from gateway.cli import config_file
from gateway.cli.key_rotation import rotate
from gateway.cli.table import table
from gateway.cli.terminal import json_text
from gateway.config.loader import read_config
from providers.errors import InvalidRequest


def add_to(commands: Any, path: str | None) -> None:
    """Declare the command's arguments."""
    command: ArgumentParser = commands.add_parser(
        "keys", help="create, list and rotate API keys for callers", description="API keys for callers."
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True, help="what to do")
    new = _action(
        actions,
        "new",
        "create a key",
        "Create a key. It is printed once and stored nowhere; the configuration holds only its hash.",
        _print_new,
    )
    new.add_argument(
        "name", metavar="NAME", type=name_of_key, help="a name for the caller, of letters, digits, dots, _ and -"
    )
    listing = _action(
        actions, "list", "list the keys of a configuration", "List the keys that a configuration accepts.", _print_list
    )
    config_file.add_to(listing, path)
    _action(
        actions,
        "hash",
        "print the hash of a key that you have",
        "Read a key from standard input, or ask for it, and print its hash for the configuration. It is no argument, "
        "since others on the machine can see those.",
        _print_hash,
    )
    rotation = _action(
        actions,
        "rotate",
        "replace a key by a new one",
        "Make a new key for a name, and put its hash in place of the old one's, in the configuration or its key file. "
        "Nothing else there changes. A running gateway takes the new key a second later, and then refuses the old.",
        _print_rotation,
    )
    rotation.add_argument("name", metavar="NAME", help="the name of the key")
    config_file.add_to(rotation, path)


def _action(actions: Any, name: str, help: str, description: str, run: Any) -> ArgumentParser:
    action: ArgumentParser = actions.add_parser(name, help=help, description=description)
    action.add_argument("--json", action="store_true", help="print JSON, for programs")
    action.set_defaults(run=run)
    return action


def _print_new(options: Namespace) -> int:
    """A new key, and the lines of YAML that accept it."""
    key, digest = new_key()
    if options.json:
        print(json_text({"name": options.name, "key": key, "hash": digest}))
        return 0
    print(f"{key}\n\nGive the key above to the caller; it cannot be shown again. Add this to the configuration:\n")
    print(f"auth:\n  keys:\n    - name: {options.name}\n      hash: {digest}")
    return 0


def _print_list(options: Namespace) -> int:
    """The keys of a configuration, in its order. Raises ConfigError."""
    auth = read_config(config_file.chosen_file(options)).auth
    keys = auth.keys if auth else []
    now = datetime.now(UTC)
    if options.json:
        print(json_text([key.model_dump(mode="json") | {"expired": _is_expired(key, now)} for key in keys], indent=2))
    elif not keys:
        print("callers need no key")
    else:
        titles = ["NAME", "STATE", "ADMIN", "LIMITS", "BUDGET", "MODELS"]
        print(table(titles, [_row(key, now) for key in keys]))
    return 0


def _row(key: CallerKeySettings, now: datetime) -> list[str]:
    until = f"until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else "valid"
    limits = key.limits.model_dump(mode="json", exclude_none=True) if key.limits else {}
    budget = f"{key.budget.usd:g} USD a {key.budget.period}" if key.budget else "none"
    return [
        key.name,
        f"expired {key.expires:%Y-%m-%d %H:%M} UTC" if _is_expired(key, now) else until,
        "yes" if key.admin else "no",
        ", ".join(f"{value} {name}" for name, value in limits.items()) or "none",
        budget,
        ", ".join(key.models),
    ]


def _is_expired(key: CallerKeySettings, now: datetime) -> bool:
    return key.expires is not None and key.expires <= now


def _print_hash(options: Namespace) -> int:
    """The hash of a key. Raises InvalidRequest for what cannot be sent as a key."""
    key = _presented_key().strip()
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise InvalidRequest("standard input must hold one key: a line of ASCII characters without blanks")
    print(json_text({"hash": hash_of(key)}) if options.json else hash_of(key))
    return 0


def _presented_key() -> str:
    """What is typed or piped in; "" for bytes that are no text, which are no key either."""
    try:
        return getpass.getpass("key: ") if sys.stdin.isatty() else sys.stdin.read()
    except UnicodeDecodeError:
        return ""


def _print_rotation(options: Namespace) -> int:
    """A new key for a name whose hash is in force now. Raises ConfigError, InvalidRequest, OSError."""
    file = config_file.chosen_file(options)
    if not file:
        raise InvalidRequest("name the configuration file whose key is to be replaced")
    rotation = rotate(Path(file), options.name, os.environ)
    if options.json:
        print(json_text({"name": options.name, "key": rotation.key, "hash": rotation.hash, "file": rotation.file}))
        return 0
    print(f"{rotation.key}\n\nGive the key above to {options.name}; it cannot be shown again. Its hash is now in")
    print(f"{rotation.file}, in place of the old one, which a running gateway refuses a second from now.")
    return 0


def name_of_key(text: str) -> str:
    """The text, if it can name a key. Raises ArgumentTypeError."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ArgumentTypeError(f'"{text}" is not a name of 1 to 64 letters, digits, dots, _ and -')
    return text
