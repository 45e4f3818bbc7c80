"""Get a configuration: from a YAML file, from plain values, or by default from the environment.

Each function returns a valid `Config`, or raises `ConfigError` with every problem at once.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from gateway.config import key_file, kinds, yaml_source
from gateway.config.locations import located
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.config.validation import validate
from gateway.errors import ConfigError, Problem
from providers import registry
from providers.local.source import built_in_models
from providers.spec import LocalProvider

CONFIG_VARIABLE = "RERANK_GATEWAY_CONFIG"
"""The environment variable that names the configuration file."""


def read_config(path: str | None) -> Config:
    """The configuration in that file, or the default one if no file is named.

    Raises:
        ConfigError: with all problems, also for a file by which nothing could be served.
    """
    if not path:
        return default(os.environ)
    config = load(Path(path), os.environ)
    if not config.model_fields_set:
        raise ConfigError([Problem("", f"{path} is empty; it needs `providers` at least")])
    if not config.providers:
        raise ConfigError([Problem("providers", "is required: add at least one, such as a vendor with its api_key")])
    return config


_WITH_A_KEY = ProviderSettings(api_key=SecretStr("any"))
"""Nothing but a key, to see whether an adapter needs more."""


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and validate a YAML file. Raises ConfigError with all problems."""
    with located(path):
        tree, problems = yaml_source.read(path, environ)
        tree, key_problems = key_file.merge(tree, path.parent, environ)
        return validate(tree, problems + key_problems, path.parent)


_OF_A_REPLICA = ("deadline", "request_limits", "telemetry")
"""The sections of a file that hold for a copy of a local provider, too."""

_OF_ITS_PROVIDER = ("adapter", "models", "scale", "api_key", "api_keys")
"""And what holds of the provider's own section; the rest is about how the gateway reaches the copies."""


def read_local_provider(path: str, environ: Mapping[str, str], name: str) -> Config:
    """The configuration of one local provider of that file, as it is loaded in a process, wherever its `base_url` is.

    The rest of the file may need what this host does not have: keys of vendors, certificates, other models.

    Raises:
        ConfigError: with all problems of what is needed of it here.
    """
    with located(path):
        tree, problems = yaml_source.read(Path(path), environ)
        section = _sections(tree).get(name, "")
        if not isinstance(section, dict | None):
            raise ConfigError([Problem("providers", f'has no local provider "{name}"')])
        config = _read_part(tree, problems, {name: section or {}}, _OF_ITS_PROVIDER, Path(path).parent)
        if not isinstance(config.adapter(name), LocalProvider):
            raise ConfigError([Problem(f"providers.{name}", "is no local provider, so it has no models to load")])
        return config


def read_scaled_providers(path: str, environ: Mapping[str, str]) -> Config:
    """The configuration of those providers of that file that have `scale`: who describes a cluster needs no more of it.

    Raises:
        ConfigError: with all problems of these; where no provider has `scale`, with those of the whole file.
    """
    with located(path):
        tree, problems = yaml_source.read(Path(path), environ)
        found = {
            name: own for name, own in _sections(tree).items() if isinstance(own, dict) and own.get("scale") is not None
        }
        if not found:
            return load(Path(path), environ)
        return _read_part(tree, problems, found, (*_OF_ITS_PROVIDER, "base_url", "base_urls"), Path(path).parent)


def _sections(tree: Mapping[str, Any]) -> Mapping[Any, Any]:
    providers = tree.get("providers")
    return providers if isinstance(providers, dict) else {}


def _read_part(
    tree: Mapping[str, Any],
    problems: Iterable[Problem],
    providers: Mapping[Any, Mapping[Any, Any]],
    keys: Collection[str],
    folder: Path,
) -> Config:
    """Validate those keys of these providers, with what else holds for copies. Problems of the rest are left out."""
    own = {name: {key: value for key, value in section.items() if key in keys} for name, section in providers.items()}
    needed = (*_OF_A_REPLICA, *(f"providers.{name}.{key}" for name in providers for key in keys))
    known = [each for each in problems if any(f"{each.path}.".startswith(f"{start}.") for start in needed)]
    return validate({**{key: tree[key] for key in _OF_A_REPLICA if key in tree}, "providers": own}, known, folder)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """Validate plain values, shaped as in the YAML file. Raises ConfigError with all problems."""
    return validate(dict(tree), [])


def default(environ: Mapping[str, str]) -> Config:
    """The configuration without a file: the models that come with the gateway, and each vendor whose usual key variable
    is set and that needs nothing else (a base URL, an account)."""
    providers: dict[str, Any] = {}
    if built_in_models() and not missing_for_local():
        providers["local"] = {}
    for name in registry.names():
        adapter = registry.find(name)
        key = environ.get(adapter.api_key_env or "")
        if key and (needs := {place for place, _ in kinds.check(adapter, _WITH_A_KEY)}) <= {kinds.PROXY}:
            providers[name] = {"api_key": key, **({"client": "httpx"} if needs else {})}
    return from_tree({"providers": providers})


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the YAML file, for editors."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "rerank-gateway configuration",
        "patternProperties": {f"^{yaml_source.EXTENSION}": {}},
    }


def missing_for_local() -> str:
    """The command that installs the local engine; "" if it is installed."""
    return registry.find("local").missing()
