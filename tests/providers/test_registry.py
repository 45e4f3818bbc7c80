"""Adapters are found by name: ours, and those of packages that are really installed next to us."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers import registry
from providers.spec import HttpProvider

MODULE = """
from providers.spec import HttpProvider

PROVIDER = HttpProvider(
    name="marmot",
    base_url="https://api.marmot.example",
    path="/rank",
    encode=lambda request: {},
    decode=lambda body, request: None,
    error_message=lambda body: "",
    fields=frozenset(),
)
NOT_A_PROVIDER = "a string"
"""
OFFERS = """
[rerank_gateway.providers]
marmot = marmot_rerank:PROVIDER
cohere = marmot_rerank:PROVIDER
types = marmot_rerank:PROVIDER
wrong = marmot_rerank:NOT_A_PROVIDER
nameless = marmot_rerank:MISSING
gone = marmot_that_was_removed:PROVIDER
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution as pip leaves it: a module and a dist-info directory on the path."""
    (tmp_path / "marmot_rerank.py").write_text(MODULE)
    info = tmp_path / "marmot_rerank-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: marmot-rerank\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(OFFERS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["cohere", "jina", "voyage", "vllm", "tei", "cohere-v1"])
def test_ours_are_named_and_found(name: str) -> None:
    assert name in registry.names()
    assert registry.find(name).name == name


@pytest.mark.parametrize("name", ["errors", "registry", "spec", "types", "dialects", "variants", "__init__"])
def test_what_is_no_adapter_is_not_named(name: str) -> None:
    assert name not in registry.names()


@pytest.mark.parametrize("name", ["nobody", "", "types", "dialects", "dialects.errors", "..gateway", "os"])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(LookupError, match=r'unknown adapter ".*"; known are .*cohere, .*vllm, voyage'):
        registry.find(name)


@pytest.mark.usefixtures("installed")
def test_a_package_s_adapter_is_named_after_ours_and_found() -> None:
    names = registry.names()
    assert names.index("marmot") > names.index("voyage")
    found = registry.find("marmot")
    assert isinstance(found, HttpProvider)
    assert found.base_url == "https://api.marmot.example"


@pytest.mark.usefixtures("installed")
def test_a_package_cannot_take_the_name_of_ours() -> None:
    assert registry.names().count("cohere") == 1
    assert registry.find("cohere").name == "cohere"


@pytest.mark.usefixtures("installed")
def test_a_package_may_use_the_name_of_a_module_that_is_no_adapter() -> None:
    assert registry.find("types").name == "marmot"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("wrong", "does not offer one of HttpProvider, LocalProvider, PureProvider", id="not a provider"),
        pytest.param("nameless", "installed but cannot be loaded", id="attribute missing"),
        pytest.param("gone", "installed but cannot be loaded", id="module missing"),
    ],
)
def test_a_broken_package_is_a_lookup_error_that_says_why(name: str, why: str) -> None:
    with pytest.raises(LookupError, match=f'adapter "{name}" .*{why}'):
        registry.find(name)
