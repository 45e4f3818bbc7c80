"""Packages that only some adapters need: an extra of the distribution installs them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec


def needs(extra: str, *modules: str) -> Callable[[], str]:
    """For `missing` of an adapter: the command that installs the extra, "" if all its modules are there."""

    def missing() -> str:
        return "" if all(map(_is_installed, modules)) else f'pip install "rerank-gateway[{extra}]"'

    return missing


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Not even the package that the module is in.
        return False
