"""rerank-gateway init"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from gateway.access.keys import new_key
from gateway.cli.import_config import FORMATS, imported
from gateway.cli.keys import name_of_key
from gateway.cli.starter_file import ChosenProvider, key_variable, render
from gateway.cli.whole_file import create_file
from gateway.config import loader
from gateway.suggestions import did_you_mean
from providers import registry
from providers.errors import InvalidRequest
from providers.spec import HttpProvider


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "init",
        help="write a configuration to begin with",
        description="Write a commented configuration that `check` accepts. Without options it asks, if there is a "
        "terminal; else it takes the built-in model and every vendor whose key variable is set. Keys of vendors are "
        "not written: the file names their variables.",
    )
    command.add_argument(
        "--provider",
        metavar="NAME[=URL]",
        action="append",
        default=[],
        help="an adapter, with the address of a server of your own (see `providers`); may be given several times",
    )
    command.add_argument(
        "--set",
        dest="options",
        metavar="NAME.OPTION=VALUE",
        action="append",
        type=_option,
        default=[],
        help="an option of a provider, such as cloudflare.account_id=…",
    )
    command.add_argument("--key", metavar="NAME", type=name_of_key, help="make a key for a caller of that name")
    command.add_argument(
        "--from",
        dest="source",
        nargs=2,
        metavar=("FORMAT", "THEIRS"),
        help=f"write the rerank models of another gateway's configuration: {' or '.join(FORMATS)}, and its file",
    )
    command.add_argument("--force", action="store_true", help="replace the file if it is there")
    command.add_argument("file", metavar="FILE", nargs="?", default="gateway.yaml", help="the file; - prints it")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Write the file, and say what to do next. Raises ConfigError, InvalidRequest, OSError."""
    if not chosen.force and chosen.file != "-" and Path(chosen.file).exists():
        raise OSError(f"{chosen.file} is there already; --force replaces it")
    if chosen.source:
        return _import(chosen)
    if sys.stdin.isatty() and not (chosen.provider or chosen.options or chosen.key):
        ask(chosen, _answer)
    providers = choose(chosen.provider, chosen.options)
    key, digest = new_key() if chosen.key else ("", "")
    text = render(providers, (chosen.key, digest) if chosen.key else None)
    unset = _check(text, providers)
    if chosen.file == "-":
        print(text, end="")
    else:
        create_file(Path(chosen.file), text.encode(), chosen.force)
        print(f"wrote {chosen.file} with {', '.join(provider.name for provider in providers)}")
    notes = sys.stderr if chosen.file == "-" else sys.stdout
    if key:
        print(f"\nthe key of {chosen.key}, which cannot be shown again:\n{key}", file=notes)
    for variable in unset:
        print(f"\nset {variable} before you go on: it is not set here", file=notes)
    if chosen.file != "-":
        print(f"\nnext:\n  rerank-gateway check {chosen.file}\n  rerank-gateway serve --config {chosen.file}")
    return 0


def _import(chosen: Namespace) -> int:
    name, theirs = chosen.source
    if name not in FORMATS:
        raise InvalidRequest(f'"{name}" is no format that is read; there are {" and ".join(FORMATS)}')
    if chosen.provider or chosen.options or chosen.key:
        raise InvalidRequest("--from takes the providers from the other file; leave --provider, --set and --key out")
    text = imported(name, theirs)
    if chosen.file == "-":
        print(text, end="")
        return 0
    create_file(Path(chosen.file), text.encode(), chosen.force)
    print(f"wrote {chosen.file} from {theirs}; its end tells what was not taken over")
    print(f"\nnext:\n  rerank-gateway check {chosen.file}")
    return 0


def ask(chosen: Namespace, answer: Callable[[str], str]) -> None:
    """Fill in what was not given, by asking.

    Args:
        chosen: changed in place: `provider`, `options`, `key`.
        answer: puts a question, and gives the line that was typed, without blanks around it; "" for the default.
    """
    usual = _usual_names()
    typed = answer(f"providers, separated by blanks [{' '.join(usual) or 'none is usual here'}]: ")
    for name in typed.split() or usual:
        adapter = _find(name)
        needs_url = isinstance(adapter, HttpProvider) and adapter.base_url is None
        url = answer(f"URL of {name}: ") if needs_url else ""
        chosen.provider.append(f"{name}={url}" if url else name)
        for option in _required_options(name):
            chosen.options.append((name, option, answer(f"{option} of {name}: ")))
    chosen.key = answer("name of a caller to make a key for, or nothing for a gateway on this machine only: ") or None
    if chosen.key:
        try:
            name_of_key(chosen.key)
        except ArgumentTypeError as error:
            raise InvalidRequest(str(error)) from None


def choose(given: Sequence[str], options: Sequence[tuple[str, str, str]]) -> list[ChosenProvider]:
    """The providers to write: those given as `NAME[=URL]` with their options, or else the usual ones.

    Raises InvalidRequest for a name that no adapter has, an option of a provider that is not chosen, or nothing at all.
    """
    names = list(given) or _usual_names()
    if not names:
        raise InvalidRequest(
            "no vendor's key variable is set, and no local engine is installed; use --provider NAME[=URL]"
        )
    providers = []
    for entry in names:
        name, _, url = entry.partition("=")
        own = {option: value for provider, option, value in options if provider == name}
        providers.append(ChosenProvider(_find(name), url, own))
    chosen = [provider.name for provider in providers]
    for name, option, _ in options:
        if name not in chosen:
            raise InvalidRequest(f"--set {name}.{option}: there is no provider {name}{did_you_mean(name, chosen)}")
    if len(set(chosen)) < len(chosen):
        raise InvalidRequest("a provider is named twice; give the second a name of its own in the file")
    return providers


def _usual_names() -> list[str]:
    """The providers of the configuration that is in force without a file."""
    return list(loader.default(os.environ).providers)


def _find(name: str) -> Any:
    try:
        return registry.find(name)
    except LookupError:
        near = did_you_mean(name, registry.names())
        raise InvalidRequest(
            f'there is no adapter "{name}"{near or "; `rerank-gateway providers` lists them"}'
        ) from None


def _required_options(name: str) -> list[str]:
    adapter = _find(name)
    if not isinstance(adapter, HttpProvider) or adapter.options is None:
        return []
    return [field.encode_name for field in msgspec.structs.fields(adapter.options.shape) if field.required]


def _check(text: str, providers: Sequence[ChosenProvider]) -> list[str]:
    """Check the file as `check` would if all its variables were set. Gives those that are not. Raises ConfigError."""
    variables = [variable for provider in providers if (variable := key_variable(provider.adapter))]
    unset = [variable for variable in variables if not os.environ.get(variable)]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_text(text, encoding="utf-8")
        loader.load(file, {**os.environ, **dict.fromkeys(unset, "not-set-yet")})
    return unset


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _option(text: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"([^.=]+)\.([^=]+)=(.+)", text)
    if found is None:
        raise ArgumentTypeError(f'"{text}" is not NAME.OPTION=VALUE')
    return found[1], found[2], found[3]
