"""A local provider that names no models serves those that come with the gateway, as far as they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import built_in
from gateway.config.loader import default, from_tree, load
from gateway.errors import ConfigError
from providers.local import source
from providers.local.builtin import store
from providers.local.builtin.catalogue import CROSS_ENCODER, EMBEDDING_MODEL

BEST, FAST = CROSS_ENCODER.name, EMBEDDING_MODEL.name
OWN = {"m": {"path": EMBEDDING_MODEL.path}}


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models in which the cross-encoder seems to be. That it is whole is tested elsewhere."""
    folder = tmp_path / "models" / BEST
    folder.mkdir(parents=True)
    for name in CROSS_ENCODER.files:
        (folder / name).touch()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder.parent))
    monkeypatch.setattr(source, "verify", lambda *_: None)
    return folder


CASES: dict[str, tuple[dict[str, Any], dict[str, list[str]], str | None]] = {
    "an empty section": ({"providers": {"local": {}}}, {"local": [BEST, FAST]}, f"local/{BEST}"),
    "nothing after the name": ({"providers": {"local": None}}, {"local": [BEST, FAST]}, f"local/{BEST}"),
    "other settings": ({"providers": {"local": {"timeout": 3}}}, {"local": [BEST, FAST]}, f"local/{BEST}"),
    "another name": ({"providers": {"inside": {"adapter": "local"}}}, {"inside": [BEST, FAST]}, f"inside/{BEST}"),
    "beside a vendor": (
        {"providers": {"vllm": {"base_url": "http://x"}, "local": {}}},
        {"vllm": [], "local": [BEST, FAST]},
        f"local/{BEST}",
    ),
    "a default of one's own": (
        {"providers": {"local": {}}, "default_model": f"local/{FAST}"},
        {"local": [BEST, FAST]},
        f"local/{FAST}",
    ),
    "an alias of one of them": (
        {"providers": {"local": {}}, "models": {"a": {"target": f"local/{BEST}"}}},
        {"local": [BEST, FAST]},
        f"local/{BEST}",
    ),
    "models of one's own": ({"providers": {"local": {"models": OWN}}}, {"local": ["m"]}, None),
    "no local provider": ({"providers": {"vllm": {"base_url": "http://x"}}}, {"vllm": []}, None),
    "nothing": ({}, {}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_served(case: str, both: Path) -> None:
    tree, served, model = CASES[case]
    config = from_tree(tree)
    assert {name: list(section.models or {}) for name, section in config.providers.items()} == served
    assert config.default_model == model
    assert not built_in.advice(config)


@pytest.mark.parametrize(
    "tree", [None, [], "text", {"providers": None}, {"providers": []}, {"providers": {"local": 3}}]
)
def test_what_is_no_tree_is_left_to_the_validation(tree: Any) -> None:
    assert built_in.fill(tree) == tree


def test_an_adapter_that_nobody_knows_is_left_to_the_validation() -> None:
    with pytest.raises(ConfigError, match='unknown adapter "locl"'):
        from_tree({"providers": {"locl": {}}})


def test_without_a_file_both_are_served(both: Path) -> None:
    config = default({"COHERE_API_KEY": "k"})
    assert list(config.providers) == ["local", "cohere"]
    assert list(config.providers["local"].models or {}) == [BEST, FAST]
    assert config.default_model == f"local/{BEST}"


@pytest.mark.parametrize("file", ["gateway.yaml", "docker.yaml"])
def test_the_files_that_are_shipped_say_the_same(file: str, both: Path) -> None:
    config = load(Path(__file__).parents[3] / "config" / file, {})
    assert config.providers == default({}).providers
    assert config.default_model == f"local/{BEST}"


def test_one_that_is_damaged_is_a_problem_with_the_command(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(both.parent))
    with pytest.raises(ConfigError, match=f"is damaged: .*; run: rerank-gateway models install {BEST}"):
        default({})


class TestWhereItIsNotInstalled:
    def test_the_small_one_serves_alone_and_the_command_is_told(self) -> None:
        config = default({})
        assert list(config.providers["local"].models or {}) == [FAST]
        assert config.default_model == f"local/{FAST}"
        assert built_in.advice(config) == (
            f"{BEST}, which ranks better, is not installed, so {FAST} serves alone; "
            f"to install it run: rerank-gateway models install {BEST}"
        )

    def test_an_alias_of_it_is_a_problem_with_the_command(self) -> None:
        with pytest.raises(ConfigError) as caught:
            from_tree({"providers": {"local": {}}, "models": {"a": {"target": f"local/{BEST}"}}})
        (problem,) = caught.value.problems
        assert f"run: rerank-gateway models install {BEST}" in str(problem)

    def test_a_path_to_it_is_a_problem_with_the_command(self) -> None:
        with pytest.raises(ConfigError, match=f"is not installed here; run: rerank-gateway models install {BEST}"):
            from_tree({"providers": {"local": {"models": {"m": {"path": f"installed:{BEST}"}}}}})
