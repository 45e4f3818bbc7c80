"""Packages that only some adapters need: an extra of the distribution names them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from itertools import chain

DISTRIBUTION = "rerank-gateway"


def needs(extra: str, *modules: str, options: str = "") -> Callable[[], str]:
    """For `missing` of an adapter: the command that installs the extra's packages, "" if all its modules are there.

    Args:
        extra: a name under `optional-dependencies` in pyproject.toml, or several with commas between them.
        modules: what the adapter imports of it.
        options: of pip, for the command.
    """

    def missing() -> str:
        return "" if all(map(_is_installed, modules)) else install_command(extra, options)

    return missing


def install_command(extra: str, options: str = "") -> str:
    """What installs the packages of an extra by their own names: that works wherever this package came from."""
    entries = (entry.partition("; ") for entry in metadata.requires(DISTRIBUTION) or [])
    needed: dict[str, list[str]] = {f'extra == "{name}"': [] for name in extra.split(",")}
    for requirement, _, marker in entries:
        if marker in needed:
            needed[marker].append(f'"{requirement}"')
    # An editable installation from before an extra does not know it: then the installation has to be renewed.
    packages = chain(*needed.values()) if all(needed.values()) else [f'".[{extra}]"']
    return " ".join(["pip install", *([options] if options else []), *packages])


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Not even the package that the module is in.
        return False
