"""Each kind of provider, from its settings to a live one: what is demanded of them, and what an adapter may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.access.prices import FREE
from gateway.config.kinds import _CHECKS
from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.routing import kinds
from gateway.routing.kinds import _KINDS
from providers import registry
from providers.spec import Provider

MODULE = """
from msgspec import Struct
from msgspec.structs import replace
from providers.adapters.cohere import PROVIDER as COHERE
from providers.capabilities import Capabilities, Limits
from providers.spec import Header, NoAuth, Options
from providers.wire.paths import quote_segment


class Region(Struct):
    region: str
    tenants: list[str] = []
    retries: int = 0


def apply(chosen):
    if chosen.region == "moon":
        raise ValueError("there is no region moon")
    return replace(PROVIDER, path=lambda model: f"/{chosen.region}/models/{quote_segment(model)}/rerank")


PROVIDER = replace(
    COHERE,
    name="regional",
    base_url=None,
    path="/unset",
    encode=lambda request: b'{"query": "encoded by hand", "documents": ["a", "b"]}',
    auth=Header("api-key"),
    api_key_env=None,
    options=Options(shape=Region, apply=apply),
)
OPEN = replace(COHERE, name="open", auth=NoAuth(), key_required=False, missing=lambda: "pip install open-sdk")
"""
OFFERS = "[rerank_gateway.providers]\nregional = regional_rerank:PROVIDER\nopen = regional_rerank:OPEN\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution as pip leaves it, with two adapters."""
    (tmp_path / "regional_rerank.py").write_text(MODULE)
    info = tmp_path / "regional_rerank-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: regional-rerank\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(OFFERS)
    monkeypatch.syspath_prepend(tmp_path)


def test_every_kind_has_its_file_and_its_demands() -> None:
    assert set(_KINDS) == set(_CHECKS) == set(get_args(Provider))


REGIONAL = {"base_url": "http://127.0.0.1:9", "api_key": "k"}
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an option is missing": ({"regional": REGIONAL}, ["regional.options.region: is required"]),
    "every option that is wrong": (
        {"regional": {**REGIONAL, "options": {"regoin": "eu", "retries": "two", "tenants": ["a", 1]}}},
        [
            'regional.options.regoin: unknown key; did you mean "region"?',
            "regional.options.region: is required",
            "regional.options.retries: Expected `int`, got `str`",
            "regional.options.tenants: Expected `str`, got `int` - at `$[1]`",
        ],
    ),
    "an option that fits and cannot be": (
        {"regional": {**REGIONAL, "options": {"region": "moon"}}},
        ["regional.options: there is no region moon"],
    ),
    "options for an adapter without": (
        {"cohere": {"api_key": "k", "options": {"region": "eu"}}},
        ["cohere.options: cohere has no options"],
    ),
    "a key for an adapter that takes none, and packages it lacks": (
        {"open": {"api_key": "k"}},
        [
            'open.adapter: "open" needs packages that are not installed; run: pip install open-sdk',
            "open.api_key: open takes no key",
        ],
    ),
    "limits and options of what is not behind HTTP": (
        {"passthrough": {"options": {"a": 1}, "capabilities": {"*": {"limits": {"documents": 5}}}}},
        [
            "passthrough.capabilities.*.limits: only a provider behind HTTP has limits; see request_limits",
            "passthrough.options: only a provider behind HTTP has options",
        ],
    ),
    "capabilities that cannot be": (
        {"cohere": {"api_key": "k", "capabilities": {"*": {"limits": {"documents": 0}, "scoring": "by luck"}}}},
        [
            "cohere.capabilities.*.limits.documents: input should be greater than or equal to 1",
            "cohere.capabilities.*.scoring: input should be 'pointwise', 'listwise' or 'unknown'",
        ],
    ),
}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("providers", "problems"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_provider_is_named(providers: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": providers})
    assert sorted(map(str, caught.value.problems)) == sorted(f"providers.{problem}" for problem in problems)


@pytest.mark.usefixtures("installed")
async def test_an_adapter_with_options_is_called_by_model_with_its_own_header(opened, upstream) -> None:
    settings = {"base_url": upstream.url, "api_key": "the-key", "options": {"region": "eu", "retries": "2"}}
    gateway = await opened({"providers": {"regional": settings}})
    asked = {"query": "q", "documents": ["a", "b"]}
    for model in ("m 1", "a/b"):
        assert (await gateway.post("/v1/rerank", json={**asked, "model": f"regional/{model}"})).status_code == 200
    assert [sent.path for sent in upstream.requests] == ["/eu/models/m%201/rerank", "/eu/models/a%2Fb/rerank"]
    assert upstream.requests[0].headers["api-key"] == "the-key"
    assert "authorization" not in upstream.requests[0].headers
    assert upstream.requests[0].body == {"query": "encoded by hand", "documents": ["a", "b"]}
    refused = await gateway.post("/v1/rerank", json={**asked, "model": "regional/.."})
    assert (refused.status_code, refused.json()["error_type"]) == (400, "invalid_request")
    assert len(upstream.requests) == 2


@pytest.mark.usefixtures("installed")
def test_a_url_that_names_the_model_is_shown_with_a_stand_in() -> None:
    config = from_tree({"providers": {"regional": {**REGIONAL, "options": {"region": "eu"}}}})
    kind = kinds.configure(config, "regional")
    assert kind.describe().where == "http://127.0.0.1:9/eu/models/MODEL/rerank"
    assert kind.server() == ("127.0.0.1", 9)


async def test_an_operator_corrects_a_limit_by_model(opened, upstream) -> None:
    known = {"*": {"limits": {"documents": 5}}, "small-*": {"limits": {"documents": 1}}}
    gateway = await opened({"providers": {"vllm": {"base_url": upstream.url, "capabilities": known}}})
    asked = {"query": "q", "documents": ["a", "b"]}
    assert (await gateway.post("/v1/rerank", json={**asked, "model": "vllm/m"})).status_code == 200
    refused = await gateway.post("/v1/rerank", json={**asked, "model": "vllm/small-1"})
    assert (refused.status_code, refused.json()["error_type"]) == (413, "upstream_rejected")
    assert "takes at most 1 documents per call" in refused.json()["message"]


KINDS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "cohere": ({"api_key": "k"}, (("api.cohere.com", 443), None, False)),
    "passthrough": ({}, ((None, None), FREE, False)),
}


@pytest.mark.parametrize(("name", "settings", "facts"), [(name, *case) for name, case in KINDS.items()], ids=KINDS)
def test_what_each_kind_says_of_itself(name: str, settings: dict[str, Any], facts: tuple[Any, ...]) -> None:
    kind = kinds.configure(from_tree({"providers": {name: settings}}), name)
    assert (kind.server(), kind.price, kind.loads_models) == facts


@pytest.mark.parametrize("name", registry.names())
def test_only_local_models_are_loaded_by_the_gateway(name: str) -> None:
    assert kinds.kind_of(registry.find(name)).loads_models is (name == "local")
