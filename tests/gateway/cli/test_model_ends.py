"""Which targets of a configuration end, whatever they are called and wherever they are named."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gateway.cli.model_ends import configured_targets, retirement_warnings
from gateway.config.loader import from_tree
from providers.retirements import Retirement

END = Retirement(adapters=("vllm",), models=("old",), day=date(2026, 5, 30), successor="new", source="s")
PROVIDERS = {
    "vllm": {"base_url": "http://a"},
    "team": {"adapter": "vllm", "base_url": "http://b"},
    "o": {"adapter": "passthrough"},
}
PAST = "old was retired on 2026-05-30; use new"

CONFIGURATIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a target": ({"models": {"best": {"target": "vllm/old"}}}, [f"vllm: {PAST}"]),
    "a provider of another name": ({"models": {"best": {"target": "team/old"}}}, [f"team: {PAST}"]),
    "one of several": (
        {"models": {"best": {"targets": [{"target": "vllm/new"}, {"target": "team/old"}]}}},
        [f"team: {PAST}"],
    ),
    "a fallback": ({"models": {"best": {"target": "o/x", "fallbacks": ["vllm/old"]}}}, [f"vllm: {PAST}"]),
    "the default model": ({"default_model": "vllm/old"}, [f"vllm: {PAST}"]),
    "named twice": (
        {"models": {"best": {"target": "vllm/old"}, "also": {"target": "vllm/old"}}},
        [f"vllm: {PAST}"],
    ),
    "an alias with that name": ({"models": {"old": {"target": "vllm/new"}}, "default_model": "old"}, []),
    "no models": ({}, []),
}


@pytest.mark.parametrize(("tree", "warnings"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_target_that_ends_is_told_once(tree: dict[str, Any], warnings: list[str]) -> None:
    config = from_tree({"providers": PROVIDERS, **tree})
    assert retirement_warnings(config, date(2026, 6, 1), [END]) == warnings


def test_before_the_day_it_will_be_retired() -> None:
    config = from_tree({"providers": PROVIDERS, "models": {"best": {"target": "vllm/old"}}})
    assert retirement_warnings(config, date(2026, 5, 1), [END]) == ["vllm: old will be retired on 2026-05-30; use new"]


def test_an_alias_as_a_fallback_is_no_target() -> None:
    models = {"best": {"target": "vllm/a", "fallbacks": ["also"]}, "also": {"target": "team/b"}}
    assert configured_targets(from_tree({"providers": PROVIDERS, "models": models})) == ["vllm/a", "team/b"]
