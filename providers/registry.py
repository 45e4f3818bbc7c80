"""Find an adapter by name: a module of ours, a line of our table, or one that an installed package offers."""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import get_args

from providers import adapters
from providers.spec import Provider
from providers.variants import VARIANTS

GROUP = "rerank_gateway.providers"
"""The entry-point group through which a package offers an adapter: `name = "module:PROVIDER"`."""

_KINDS = get_args(Provider)


def names() -> list[str]:
    """All adapters that can be named in a configuration, ours first."""
    ours = sorted({*_modules(), *VARIANTS})
    return ours + sorted({point.name for point in _entry_points()} - set(ours))


def find(name: str) -> Provider:
    """The adapter of that name. Raises LookupError, saying which names exist, if there is none."""
    provider = _built_in(name) or _from_package(name)
    if provider is None and name not in names():
        raise LookupError(f'unknown adapter "{name}"; known are {", ".join(names())}')
    if not isinstance(provider, Provider) or type(provider) not in _KINDS:
        raise LookupError(f'adapter "{name}" does not offer one of {", ".join(kind.__name__ for kind in _KINDS)}')
    return provider


def source_of(name: str) -> str:
    """Where the facts of an adapter were read, as it declares or as its module says after `Source:`; "" if nowhere.

    Raises LookupError as `find` does.
    """
    declared = find(name).source
    if declared or name not in _modules():
        return declared
    documentation = _module(name).__doc__ or ""
    said = re.search(r"^Source: (.*)$", documentation, re.MULTILINE)
    return said[1] if said else ""


def _modules() -> set[str]:
    """The names of our adapters; a hyphen of a name is an underscore in its module's."""
    return {module.name.replace("_", "-") for module in pkgutil.iter_modules(adapters.__path__)}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{adapters.__name__}.{name.replace('-', '_')}")


def _built_in(name: str) -> object | None:
    if name not in _modules():
        return VARIANTS.get(name)
    return getattr(_module(name), "PROVIDER", None)


def _from_package(name: str) -> object | None:
    try:
        return next((point.load() for point in _entry_points() if point.name == name), None)
    except (ImportError, AttributeError) as failure:
        raise LookupError(f'adapter "{name}" is installed but cannot be loaded: {failure}') from failure


def _entry_points() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))
