"""A configuration of LiteLLM's proxy. Source: https://docs.litellm.ai/docs/proxy/config_settings (2026-11)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from gateway.cli.imports.draft import Draft, Tree, as_list, as_mapping, upper_bound
from gateway.policy.breaker import BreakerSettings
from gateway.policy.deadline import DeadlineSettings
from providers.other_names import LITELLM

_OPTIONS = {"aws_region_name": "region", "vertex_project": "project"}
_STRATEGIES = {"simple-shuffle": "weighted", "latency-based-routing": "least_latency"}
_PARAMS = frozenset({"model", "api_key", "api_base", "timeout", "weight", "max_retries", *_OPTIONS})
_ROUTER = frozenset(
    {"fallbacks", "num_retries", "timeout", "allowed_fails", "cooldown_time", "routing_strategy", "model_group_alias"}
)
_WHY = {
    "rpm": "limits by model are `rate_limits.models`, such as `requests: 600/minute`",
    "tpm": "limits by model are `rate_limits.models`, such as `requests: 600/minute`",
    "input_cost_per_query": "prices are `prices`, where the built-in ones are not right",
    "order": "the order of `targets` with `strategy: ordered`, or `fallbacks`",
    "master_key": "callers' keys are `auth.keys`; `rerank-gateway keys new NAME` makes one",
    "database_url": "there is no database; limits that several gateways share are in `store`",
    "cache": "answers are not cached",
    "drop_params": "what a model does not honour is never sent to it",
    "default_fallbacks": "fallbacks are those of a model; name them in each",
}


def convert(theirs: Mapping[str, Any]) -> Draft:
    """Our configuration of their rerank models, and what could not be taken over."""
    draft, router = Draft(), as_mapping(theirs.get("router_settings"))
    groups: dict[str, list[Tree]] = {}
    for number, entry in enumerate(as_list(theirs.get("model_list"))):
        target = _target(draft, as_mapping(entry), f"model_list[{number}]", router)
        if target is not None:
            groups.setdefault(str(as_mapping(entry).get("model_name")), []).append(target)
    for name, targets in groups.items():
        draft.models[name] = _model(targets, str(router.get("routing_strategy", "simple-shuffle")))
    _add_fallbacks(draft, router, as_mapping(theirs.get("litellm_settings")))
    _note_settings(draft, theirs, router)
    return draft


def _target(draft: Draft, entry: Tree, place: str, router: Tree) -> Tree | None:
    params = as_mapping(entry.get("litellm_params"))
    prefix, _, model = str(params.get("model", "")).partition("/")
    mode = as_mapping(entry.get("model_info")).get("mode")
    if mode not in (None, "rerank") or (mode is None and not _is_reranker(prefix, model)):
        draft.note(place, f"{prefix}/{model} is not a reranker" if model else "names no model")
        return None
    if prefix not in LITELLM:
        draft.note(
            place, f"there is no adapter for {prefix}/; an upstream that speaks Cohere's or Jina's API is `compatible`"
        )
        return None
    provider = draft.add_provider(LITELLM[prefix], _provider(draft, params, LITELLM[prefix], place, router))
    draft.note_rest(f"{place}.litellm_params", params, _PARAMS, _WHY)
    draft.note_rest(f"{place}.model_info", as_mapping(entry.get("model_info")), frozenset({"mode", "id"}), _WHY)
    weight = {"weight": params["weight"]} if "weight" in params else {}
    return {"target": f"{provider}/{model}", **weight}


def _is_reranker(prefix: str, model: str) -> bool:
    return "rerank" in model.lower() or prefix == "infinity"


def _provider(draft: Draft, params: Tree, adapter: str, place: str, router: Tree) -> Tree:
    settings: Tree = {}
    if "api_base" in params:
        settings["base_url"] = draft.address(params["api_base"])
    if "api_key" in params:
        variable = f"{adapter.upper().replace('-', '_')}_API_KEY"
        settings["api_key"] = draft.text(params["api_key"], f"{place}.litellm_params.api_key", variable)
    options = {ours: draft.address(params[theirs]) for theirs, ours in _OPTIONS.items() if theirs in params}
    if options:
        settings["options"] = options
    timeout = params.get("timeout", router.get("timeout"))
    if timeout is not None:
        settings["timeout"] = timeout
    retries = params.get("max_retries", router.get("num_retries"))
    if retries is not None:
        settings["retry"] = {"retries": retries}
    pause = router.get("cooldown_time")
    longest = upper_bound(pause, None, BreakerSettings().max_ejection)
    breaker = {"failures": router.get("allowed_fails"), "base_ejection": pause, "max_ejection": longest}
    if kept := {name: value for name, value in breaker.items() if value}:
        settings["breaker"] = kept
    return settings


def _model(targets: list[Tree], strategy: str) -> Tree:
    if len(targets) == 1:
        return {"target": targets[0]["target"]}
    return {"targets": targets, "strategy": _STRATEGIES.get(strategy, "weighted")}


def _add_fallbacks(draft: Draft, router: Tree, general: Tree) -> None:
    for place, section in (("router_settings", router), ("litellm_settings", general)):
        for entry in as_list(section.get("fallbacks")):
            for name, fallbacks in as_mapping(entry).items():
                known = [each for each in as_list(fallbacks) if each in draft.models]
                if name not in draft.models or not known:
                    draft.note(f"{place}.fallbacks.{name}", "is not a rerank model, or has no fallback that is one")
                else:
                    draft.models[name]["fallbacks"] = known
    for alias, name in as_mapping(router.get("model_group_alias")).items():
        if isinstance(name, str) and name in draft.models:
            draft.models[str(alias)] = deepcopy(draft.models[name])
        else:
            draft.note(f"router_settings.model_group_alias.{alias}", "is not an alias of a rerank model")


def _note_settings(draft: Draft, theirs: Mapping[str, Any], router: Tree) -> None:
    strategy = router.get("routing_strategy", "simple-shuffle")
    if strategy not in _STRATEGIES:
        draft.note("router_settings.routing_strategy", f"{strategy} has no equivalent; weighted was written")
    draft.note_rest("router_settings", router, _ROUTER, _WHY)
    general = as_mapping(theirs.get("litellm_settings"))
    if isinstance(general.get("request_timeout"), int | float):
        allowed = general["request_timeout"]
        longest = upper_bound(allowed, None, DeadlineSettings().max)
        draft.settings["deadline"] = {"default": allowed, **({"max": longest} if longest else {})}
    draft.note_rest("litellm_settings", general, frozenset({"request_timeout", "fallbacks"}), _WHY)
    draft.note_rest("general_settings", as_mapping(theirs.get("general_settings")), frozenset(), _WHY)
    known = frozenset({"model_list", "router_settings", "litellm_settings", "general_settings"})
    for key in theirs:
        if key not in known:
            draft.note(str(key), "has no equivalent")
