"""A configuration file of Bifrost (config.json). Source: https://docs.getbifrost.ai (2026-11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.cli.imports.draft import Draft, Tree, as_list, as_mapping, upper_bound
from gateway.policy.retry import RetrySettings
from providers.other_names import BIFROST

_PROVIDER = frozenset(
    {"keys", "network_config", "concurrency_and_buffer_size", "proxy_config", "custom_provider_config"}
)
_NETWORK = frozenset(
    {
        *("base_url", "extra_headers", "default_request_timeout_in_seconds"),
        *("max_retries", "retry_backoff_initial", "retry_backoff_max"),
    }
)
_KEY = frozenset({"name", "value", "weight", "vllm_key_config"})
_WHY = {
    "governance": "callers' keys, limits and budgets are `auth.keys`; `rerank-gateway keys new NAME` makes one",
    "plugins": "traces and metrics are `telemetry`",
    "config_store": "there is no database: the file is the configuration, and is read again when it changes",
    "logs_store": "request lines go to standard error; see `telemetry.logs`",
    "insecure_skip_verify": "certificates are always verified; name the authority in `ca_file`",
    "ca_cert_pem": "write it into a file, and name that in `ca_file`",
    "models": "which models a key may be used for cannot be said; make a provider for each",
    "max_conns_per_host": "see `max_connections` of the provider",
}


def convert(theirs: Mapping[str, Any]) -> Draft:
    """Our configuration of their rerank providers, and what could not be taken over."""
    draft = Draft()
    for name, section in as_mapping(theirs.get("providers")).items():
        _add(draft, str(name), as_mapping(section))
    for key in theirs:
        if key not in ("providers", "$schema"):
            draft.note(str(key), _WHY.get(key, "has no equivalent"))
    return draft


def _add(draft: Draft, name: str, section: Tree) -> None:
    place, custom = f"providers.{name}", as_mapping(section.get("custom_provider_config"))
    base = str(custom.get("base_provider_type", name))
    if base not in BIFROST or (base == "openai" and not custom):
        draft.note(place, "has no rerank API in Bifrost, or there is no adapter for it")
        return
    settings = _settings(draft, section, custom, place)
    draft.note_rest(place, section, _PROVIDER, _WHY)
    for url, keys in _by_url(section).items():
        whole = {**settings, **({"base_url": draft.address(url)} if url else {}), **_keys(draft, keys, name, place)}
        if name != BIFROST[base]:
            draft.providers[name] = {"adapter": BIFROST[base], **whole}
        else:
            draft.add_provider(name, whole)


def _by_url(section: Tree) -> dict[str, list[Tree]]:
    """The keys by the address that stands beside them: vLLM's are there, and "" for the provider's own."""
    found: dict[str, list[Tree]] = {}
    for key in map(as_mapping, as_list(section.get("keys"))):
        found.setdefault(str(as_mapping(key.get("vllm_key_config")).get("url", "")), []).append(key)
    return found or {"": []}


def _keys(draft: Draft, keys: list[Tree], name: str, place: str) -> Tree:
    found = []
    for number, key in enumerate(keys):
        draft.note_rest(f"{place}.keys[{number}]", key, _KEY, _WHY)
        if not key.get("value"):
            continue
        variable = f"{name.upper().replace('-', '_')}_API_KEY" + (f"_{number + 1}" if number else "")
        text = draft.text(key["value"], f"{place}.keys[{number}].value", variable)
        found.append({"name": str(key.get("name", number + 1)), "key": text, "weight": key.get("weight")})
    if len(found) == 1:
        return {"api_key": found[0]["key"]}
    entries = [{name: value for name, value in each.items() if value} for each in found]
    return {"api_keys": entries} if entries else {}


def _settings(draft: Draft, section: Tree, custom: Tree, place: str) -> Tree:
    network = as_mapping(section.get("network_config"))
    draft.note_rest(f"{place}.network_config", network, _NETWORK, _WHY)
    bounds = as_mapping(section.get("concurrency_and_buffer_size"))
    first, longest = (_duration(network.get(f"retry_backoff_{name}")) for name in ("initial", "max"))
    retry = {
        "retries": network.get("max_retries"),
        "base_backoff": first,
        "max_backoff": upper_bound(first, longest, RetrySettings().max_backoff),
    }
    settings = {
        "base_url": draft.address(network["base_url"]) if network.get("base_url") else None,
        "headers": as_mapping(network.get("extra_headers")),
        "timeout": network.get("default_request_timeout_in_seconds"),
        "retry": _without_nothing(retry),
        "bulkhead": _without_nothing({"concurrency": bounds.get("concurrency"), "queue": bounds.get("buffer_size")}),
        "proxy": _proxy(draft, as_mapping(section.get("proxy_config"))),
        "options": _without_nothing({"path": as_mapping(custom.get("request_path_overrides")).get("rerank")}),
    }
    return _without_nothing(settings)


def _without_nothing(settings: Tree) -> Tree:
    return {name: value for name, value in settings.items() if value is not None and value != {}}


def _duration(value: Any) -> Any:
    """Theirs are milliseconds, or texts with a unit."""
    return f"{value}ms" if isinstance(value, int) else value


def _proxy(draft: Draft, proxy: Tree) -> str | None:
    kind = proxy.get("type")
    if kind in ("none", "environment"):
        return str(kind)
    return draft.address(proxy["url"]) if proxy.get("url") else None
