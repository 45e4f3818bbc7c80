"""What Ray Serve is told of a configuration, as data.

Sources: https://docs.ray.io/en/latest/serve/production-guide/config.html and Ray 2.60's `ray.serve.schema` (2026-11)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from msgspec import Struct

from gateway.config.kinds import remote_adapter
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.config.scale import ScaleSettings
from gateway.errors import ConfigError, Problem
from gateway.routing.endpoints import base_urls, display_url
from providers.spec import LocalProvider

BUILDER = "gateway.ray_serve.deployment:build"
POLICY = "gateway.ray_serve.autoscaling:policy"
DEPLOYMENT = "Replicas"
"""The name of each application's only deployment."""

PORT = 8000
"""Serve's port, on every host."""

HARD_STOP_SECONDS = 120
"""After so many seconds Serve's HAProxy drops the connections of an earlier configuration, unless it is told more."""

MAX_BUFFERED_BODY = 262_144
"""Bytes: a request of this size or less is asked again of another replica when its own has died."""

SURGE_PERCENT = 25
"""Of the replicas, rounded up: so many more there may be while some take the place of others. By Serve's default, which
is none, a sole replica is gone before the next one has loaded its models."""


class Application(Struct, frozen=True):
    """One local provider as a cluster serves it.

    Attributes:
        name: as configured.
        place: from 1, among the others.
        prefix: the path of its requests.
        scale: as configured.
    """

    name: str
    place: int
    prefix: str
    scale: ScaleSettings

    @property
    def title(self) -> str:
        """Its name as Serve takes it: in ids of replicas between `#`, and in HAProxy's configuration, where other signs
        are all written as `_`, so that two names would be one."""
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            return self.name
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.name).strip("-.") or "provider"
        return f"{plain}-{sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def group(self) -> str:
        """Its name as Kubernetes takes it, which its place among the others keeps apart from theirs."""
        return f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')[:40] or 'provider'}-{self.place}"

    @property
    def per_pod(self) -> int:
        """Replicas in one pod: as many as share its GPU, for Kubernetes hands out whole ones."""
        return int(1 / self.scale.gpus + 1e-9) if 0 < self.scale.gpus < 1 else 1


def applications(config: Config) -> list[Application]:
    """The providers that have `scale`.

    Raises:
        ConfigError: there is none; or two of them would be served at the same path.
    """
    found = [
        Application(name, place, _prefix(config, name, settings), scale)
        for place, (name, settings, scale) in enumerate(_scaled(config), 1)
    ]
    if not found:
        sentence = "name no local provider with `scale`; add `scale: {replicas: 2, cpus: 2}` to one"
        raise ConfigError([Problem("providers", sentence)])
    _check_distinct(found)
    return found


def _scaled(config: Config) -> list[tuple[str, ProviderSettings, ScaleSettings]]:
    return [(name, own, own.scale) for name, own in config.providers.items() if own.scale is not None]


def unguarded(config: Config) -> list[str]:
    """The providers with `scale` whose replicas would answer anybody, since the gateway sends them no key."""
    return [name for name, settings, _ in _scaled(config) if not (settings.api_key or settings.api_keys)]


def beside(config: Config, folder: Path) -> list[str]:
    """The places of models whose files are in that folder or below it."""
    return [
        f"providers.{name}.models.{model}.path"
        for name, settings, _ in _scaled(config)
        for model, own in (settings.models or {}).items()
        if Path(own.path).is_relative_to(folder)
    ]


def serve_config(config: Config, path: str, in_pods: bool = False) -> dict[str, Any]:
    """What `serve run` and `serve deploy` take.

    Args:
        config: of the gateway.
        path: of its file, where the replicas find it.
        in_pods: whether they run in the pods of a RayService, where each replica has a place of its own.

    Raises:
        ConfigError: see `applications`.
    """
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": PORT},  # noqa: S104  # gateways are on other hosts
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": application.title,
                "route_prefix": application.prefix,
                "import_path": BUILDER,
                # Serve starts new replicas where this differs from what it has, and so where the version does.
                "args": {"config": path, "provider": application.name, "version": _version(config, application.name)},
                "deployments": [_deployment(application, config, in_pods)],
            }
            for application in applications(config)
        ],
    }


def environment(config: Config, scale: ScaleSettings | None = None) -> dict[str, str]:
    """What must be in the environment before Ray starts, on every host.

    Args:
        config: of the gateway.
        scale: of the replicas on the host, where all have the same; None leaves out how many threads they have.
    """
    threads = {"OMP_NUM_THREADS": str(scale.whole_cpus)} if scale else {}
    return {
        # Serve's own proxy takes 10 ms of CPU for each request (docs/ray.md): it is not fit for this.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # Ranking twice does no harm, so what a dead replica has not answered is asked of another one.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(MAX_BUFFERED_BODY),
        # A host that is cut off answers nothing, not even that it is gone: notice it in two seconds, and not in ten.
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(max(HARD_STOP_SECONDS, ceil(drain_seconds(config)))),
        "RAY_USAGE_STATS_ENABLED": "0",
        **threads,
    }


def dump(value: Any) -> str:
    """As YAML, in the order given; a text of several lines as a block."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, which people find hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether to write it again wherever it stands."""
        return True


_NO_TEXT = re.compile(r"[-+]?\.?\d[\d_]*(\.[\d_]*)?([eE][-+]?\d+)?|0[xXoObB][0-9A-Fa-f_]+|[yYnN]")
"""What some reader of YAML takes for a number or a truth, though PyYAML does not: `1e3`, `0o17`, `y`."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else "'" if _NO_TEXT.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _prefix(config: Config, name: str, settings: ProviderSettings) -> str:
    """The path at which the gateway asks for that provider. Raises ConfigError if no replica could be there."""
    provider = config.adapter(name)
    assert isinstance(provider, LocalProvider)  # noqa: S101  # only those may have `scale`
    if not settings.addresses:
        return _plain(f"/{name}", f"providers.{name}")
    adapter = remote_adapter(provider)
    paths, end = {urlsplit(display_url(adapter, base)).path for base in base_urls(adapter, settings)}, str(adapter.path)
    place = f"providers.{name}.base_url{'' if settings.base_url else 's'}"
    if len(paths) > 1:
        raise ConfigError([Problem(place, f"must have one path at every host, not {', '.join(sorted(paths))}")])
    path = paths.pop()
    if not path.endswith(end):
        sentence = f"must be a base, such as http://ray:{PORT}/local, to which the gateway adds {end}"
        raise ConfigError([Problem(place, sentence)])
    return _plain(path.removesuffix(end) or "/", place)


def _plain(path: str, place: str) -> str:
    """The path, which proxies and Serve compare each in its own way unless it is plain. Raises ConfigError."""
    if not re.fullmatch(r"/|(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", path):
        sentence = (
            f"is served at {path}, where only letters, digits and ._~- may be, and no segment `.` or `..`; "
            "set a base_url with another path"
        )
        raise ConfigError([Problem(place, sentence)])
    return path


def _check_distinct(found: Iterable[Application]) -> None:
    at: dict[str, str] = {}
    for each in found:
        if each.prefix in at:
            sentence = f"has the same path as that of {at[each.prefix]}: {each.prefix}; give each its own"
            raise ConfigError([Problem(f"providers.{each.name}.base_url", sentence)])
        at[each.prefix] = each.name


def _version(config: Config, name: str) -> str:
    """Differs where a replica would be another one: of the code, what it takes of the configuration, and which keys.

    What the keys are is left out, for a hash would help to guess a weak one.
    """
    settings = config.providers[name]
    parts = {
        "deadline": config.deadline,
        "request_limits": config.request_limits,
        "telemetry": config.telemetry,
        **{f"models.{model}": own for model, own in (settings.models or {}).items()},
    }
    keys = [key.name for key in settings.api_keys] or bool(settings.api_key)
    told = [version("rerank-gateway"), keys, {part: chosen.model_dump_json() for part, chosen in parts.items()}]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def drain_seconds(config: Config) -> float:
    """Seconds that a request may take: for so long a replica that is to go finishes what it has."""
    return max(config.deadline.default, config.deadline.max)


def _deployment(application: Application, config: Config, in_pods: bool) -> dict[str, Any]:
    scale = application.scale
    # Processors alone would not keep a replica to the pods that were made for it.
    place = {"resources": {application.group: 1}} if in_pods else {}
    return {
        "name": DEPLOYMENT,
        **_number(scale),
        # The engine's own queue refuses: it counts tokens, and is fair to every caller.
        "max_ongoing_requests": 10_000,
        "max_queued_requests": -1,
        # Should Serve refuse all the same: a 503 would open the gateway's breaker, and keep an idle cluster out of use.
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "max_surge_percent": SURGE_PERCENT,
        "graceful_shutdown_timeout_s": drain_seconds(config),
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": 5,
        "health_check_timeout_s": 10,
        "ray_actor_options": {"num_cpus": scale.cpus, "num_gpus": scale.gpus, **place},
    }


def _number(scale: ScaleSettings) -> dict[str, Any]:
    least, most = scale.bounds
    if least == most:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            # Longer than Serve's interval of 10 s between two reports of a replica.
            "look_back_period_s": 30,
            "upscale_delay_s": 10,
            "downscale_delay_s": 120,
            "policy": {"policy_function": POLICY},
        }
    }
