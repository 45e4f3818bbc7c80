"""What a configuration means, for people: one block of lines for each of its subjects, none left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.access.keys import CallerKeySettings
from gateway.access.limits import KeyLimitSettings, RateSettings, key_limits, limits_of
from gateway.access.memory import MemoryStore
from gateway.access.prices import Price
from gateway.cli import capabilities
from gateway.cli.table import table
from gateway.config import chains
from gateway.config.models import ModelSettings
from gateway.config.providers import capability_corrections
from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.routing import kinds
from gateway.routing.facts import text_settings
from gateway.routing.pricing import TargetPricing
from gateway.telemetry.settings import resolve as resolve_telemetry
from providers.capabilities import resolve
from providers.spec import LocalProvider, PureProvider


def describe(config: Config) -> str:
    """The whole configuration in words. Raises ConfigError for an environment variable with an unknown value."""
    blocks = [_listeners(config), _callers(config), _providers(config), _targets(config), _models(config)]
    return "\n\n".join(block for block in [*blocks, _rest(config)] if block)


def _listeners(config: Config) -> str:
    server = config.server
    scheme = "https" if server.tls else "http"
    workers = f"{server.workers} worker{'s' if server.workers > 1 else ''}"
    lines = [f"listens on {_url(scheme, server.host, server.port)} with {workers}"]
    if server.tls:
        lines.append(f"  certificate: {server.tls.cert}, its key: {server.tls.key or 'in the same file'}")
        if server.tls.client_ca:
            lines.append(f"  callers need a certificate of: {server.tls.client_ca}")
    if server.admin:
        lines.append(f"  for operators: {_url(scheme, server.admin.host, server.admin.port)}")
    if server.allowed_hosts:
        lines.append(f"  answers to: {', '.join(server.allowed_hosts)}")
    if server.cors:
        lines.append(f"  pages that may call: {', '.join(server.cors)}")
    return "\n".join(lines)


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _callers(config: Config) -> str:
    auth = config.auth
    lines = []
    if auth is None:
        lines.append("callers: anybody on this machine, without a key")
    elif not auth.keys:
        lines.append("callers: anybody, without a key")
    else:
        rows = [_key(key) for key in auth.keys]
        lines.append(table(["KEY", "MODELS", "LIMITS", "BUDGET", "EXPIRES", "ADMIN"], rows))
    if limits := config.rate_limits:
        lines.append(f"all callers together: {_limits(limits)}")
        lines += [f"  of {pattern}: {_limits(rates)}" for pattern, rates in limits.models.items()]
    return "\n".join(lines)


def _key(key: CallerKeySettings) -> list[str]:
    expires = f"{key.expires:%Y-%m-%d %H:%M %Z}" if key.expires else "never"
    money = key_limits(key.name, None, key.budget)
    budget = money[0].words if money else "none"
    return [key.name, ", ".join(key.models), _limits(key.limits), budget, expires, "yes" if key.admin else "no"]


def _limits(settings: RateSettings | KeyLimitSettings | None) -> str:
    return ", ".join(limit.words for limit in limits_of("", settings)) or "none"


def _providers(config: Config) -> str:
    titles = ["PROVIDER", "ADAPTER", "URL OR MODELS", "KEY", "TIMEOUT", "HEALTH CHECK"]
    return table(titles, [_provider(config, name) for name in config.providers])


def _provider(config: Config, name: str) -> list[str]:
    kind = kinds.configure(config, name)
    description, check = kind.describe(), config.providers[name].health_check
    health = f"{_without_query(check.url)} every {check.interval:g} s" if check else "none"
    return [name, kind.provider.name, description.where, description.key, description.timeout, health]


def _without_query(url: str) -> str:
    """A query may hold a credential."""
    path, mark, _ = url.partition("?")
    return f"{path}?…" if mark else path


def _targets(config: Config) -> str:
    """What is known of each provider's models in general, and of each model that the configuration names."""
    if not config.providers:
        return ""
    names = {name for model, entry in config.models.items() for name in [model, *entry.fallbacks]}
    named = [path for name in names for path in config.paths(name)]
    local = [f"{name}/{model}" for name, settings in config.providers.items() for model in settings.models or {}]
    paths = sorted({*named, *local, *(f"{name}/*" for name in config.providers)})
    pricing = TargetPricing(config, MemoryStore())
    rows = [
        [path, *_capability_cells(config, path), _long_texts(config, path), _price(pricing.prices(path)[0])]
        for path in paths
    ]
    return table(["TARGET", *capabilities.TITLES, "LONG TEXTS", "PRICE"], rows)


def _capability_cells(config: Config, path: str) -> list[str]:
    name, _, model = path.partition("/")
    adapter = kinds.configure(config, name).provider
    known = resolve(model, adapter.capabilities, capability_corrections(config.providers[name]))
    return capabilities.cells(adapter, known)


def _long_texts(config: Config, path: str) -> str:
    """What is done about texts that are longer than a target reads, and who counts their tokens."""
    name, _, model = path.partition("/")
    settings, adapter = config.providers[name], kinds.configure(config, name).provider
    if isinstance(adapter, PureProvider):
        return "all fit"
    if local := (settings.models or {}).get(model):
        return local.long_documents
    if isinstance(adapter, LocalProvider):
        return "by model"
    texts = text_settings(adapter, settings, model)
    done = texts.long_documents or "left to the provider"
    return f"{done}, tokens by {texts.tokenizer}" if texts.tokenizer else done


def _price(price: Price | None) -> str:
    if price is None:
        return "unknown"
    parts = []
    if price.per_search is not None:
        parts.append(f"${price.per_search:g} per search")
    if price.per_million_tokens is not None:
        parts.append(f"${price.per_million_tokens:g} per million tokens")
    return " + ".join(parts) if any((price.per_search, price.per_million_tokens)) else "free"


def _models(config: Config) -> str:
    """Each name with its targets, and the chain of what is tried after them, every alias resolved."""
    if not config.models:
        return ""
    rows = [[name, *_model(config, name, model)] for name, model in config.models.items()]
    return table(["MODEL", "STRATEGY", "TARGETS", "THEN"], rows)


def _model(config: Config, name: str, model: ModelSettings) -> list[str]:
    if model.members:
        return [*_composite(model), " → ".join(_chain(config, name, model)) or "none"]
    shares = model.strategy == "weighted"
    targets = [f"{entry.target} ({entry.weight:g})" if shares else entry.target for entry in model.all_targets]
    strategy: str = model.strategy if len(targets) > 1 else "only target"
    if model.hedge:
        after = f"{model.hedge.after:g} s" if model.hedge.after else "95% of its latencies"
        strategy += f", hedged after {after}"
    return [strategy, ", ".join(targets), " → ".join(_chain(config, name, model)) or "none"]


def _composite(model: ModelSettings) -> list[str]:
    """How a model is made of others, and of which."""
    if model.cascade:
        return ["cascade", " → ".join(f"{each.model} ({each.keep or 'all'})" for each in model.cascade)]
    members = list(model.fuse)
    if model.weights:
        members = [f"{name} ({weight:g})" for name, weight in zip(model.fuse, model.weights, strict=True)]
    return [f"fused by {model.method}, {model.require or len(members)} required", ", ".join(members)]


def _chain(config: Config, name: str, model: ModelSettings) -> Iterator[str]:
    """The targets to try after the model's own, in order, none twice; those of an alias with its name."""
    tried = set(config.paths(name))
    for following in chains.flatten(config.models, name, model.fallbacks):
        for path in config.paths(following):
            if path not in tried:
                tried.add(path)
                yield path if path == following else f"{path} ({following})"


def _rest(config: Config) -> str:
    limits, deadline = config.request_limits, config.deadline
    return "\n".join(
        [
            f"a request of TEI, vLLM or Infinity without a model: {_default_model(config) or 'is refused'}; elsewhere "
            "`model` is required",
            f"a request takes at most: {deadline.default:g} s, or what its caller says up to {deadline.max:g} s; "
            f"{limits.documents:,} documents, {limits.body_bytes:,} bytes, {limits.attempts} attempts",
            f"counts are kept: {_store(config)}",
            f"scores are kept: {_cache(config)}",
            _telemetry(config),
        ]
    )


def _default_model(config: Config) -> str | None:
    local = [f"{name}/{model}" for name, settings in config.providers.items() for model in settings.models or {}]
    listed = [*config.models, *local]
    return config.default_model or (listed[0] if len(listed) == 1 else None)


def _store(config: Config) -> str:
    if config.store is None:
        return "in each process"
    url = urlsplit(config.store.url.get_secret_value())
    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    when_down = "refused" if config.store.when_down == "fail_closed" else "accepted uncounted"
    return f"in {place}; while it is away, requests are {when_down}"


def _cache(config: Config) -> str:
    settings = config.cache
    if settings is None:
        return "nowhere; each document is sent each time"
    place = "in the same store" if settings.shared else f"in each process, in {settings.max_bytes:,} bytes"
    return f"{place}, for {settings.ttl:g} s"


def _telemetry(config: Config) -> str:
    settings, logs = config.telemetry, config.telemetry.logs
    try:
        resolved = resolve_telemetry(settings, os.environ)
    except ValueError as error:
        raise ConfigError([Problem("", str(error))]) from None
    served = ["/metrics"] if settings.metrics.prometheus else []
    metrics = served + ([resolved.metrics] if resolved.metrics != "none" else [])
    texts = "queries and documents are recorded" if resolved.content_in_spans or settings.content.in_logs else ""
    parts = [f"logs {logs.level} and above as {logs.format}", f"traces {resolved.traces}"]
    return "reports: " + "; ".join([*parts, f"metrics {', '.join(metrics) or 'none'}", *([texts] if texts else [])])
