"""Each kind of provider, from its settings to a live one: what is demanded of them, and what an adapter may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from gateway.access.prices import FREE
from gateway.config.kinds import _CHECKS
from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.routing import kinds
from gateway.routing.kinds import _KINDS
from gateway.routing.routes import build
from providers import registry
from providers.spec import LocalModel, LocalProvider, Provider
from providers.types import Ranked, Ranking, RerankRequest

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
    "copies of what is not local": (
        {"cohere": {"api_key": "k", "scale": {}}, "passthrough": {"scale": {"replicas": 2}}},
        [
            "cohere.scale: only a local provider has copies in a cluster",
            "passthrough.scale: only a local provider has copies in a cluster",
        ],
    ),
    "local models elsewhere, without a name": (
        {"local": {"base_url": "http://ray:8000/local", "models": {}}},
        ["local.models: is required: name the models that are served at base_url"],
    ),
    "local models elsewhere, and how they are reached": (
        {
            "local": {
                "base_url": "http://ray:8000/local",
                "models": {"bge": {"path": "./nowhere"}},
                "client_key": "/no/such.pem",
                "options": {"a": 1},
                "proxy": "socks5://127.0.0.1:9",
            }
        },
        [
            "local.client_key: needs client_cert, the certificate of this key",
            "local.options: engine has no options",
            "local.proxy: a SOCKS proxy needs `client: httpx`; the other clients speak to HTTP proxies only",
        ],
    ),
    "models on GPUs that a copy does not have": (
        {
            "local": {
                "base_url": "http://ray:8000/local",
                "scale": {"gpus": 1},
                "models": {
                    "first": {"path": "a/b", "device": "cuda"},
                    "second": {"path": "a/b", "device": "cuda:1"},
                    "any": {"path": "a/b"},
                },
            },
            "none": {
                "adapter": "local",
                "base_url": "http://ray:8000/none",
                "scale": {},
                "models": {"first": {"path": "a/b", "device": "cuda"}},
            },
        },
        [
            "local.models.second.device: is cuda:1, and a copy sees 1 GPU; see scale.gpus",
            "none.models.first.device: is cuda, and a copy sees 0 GPUs; see scale.gpus",
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


ELSEWHERE = {
    "base_url": "http://ray:8000/local",
    "api_key": "k",
    "models": {"bge": {"path": "./nowhere"}, "a/b": {"path": "c/d"}},
}


def test_local_models_elsewhere_are_behind_http_under_their_names() -> None:
    kind = kinds.configure(from_tree({"providers": {"local": ELSEWHERE}}), "local")
    assert (kind.provider.name, kind.server(), kind.loads_models) == ("engine", ("ray", 8000), False)
    description = kind.describe()
    assert (description.where, description.key) == ("bge, a/b at http://ray:8000/local/v1/rerank", "***")


async def test_several_addresses_hold_the_same_local_models(opened, upstreams) -> None:
    first, second = upstreams(), upstreams()
    settings = {**ELSEWHERE, "base_url": None, "base_urls": [first.url, second.url], "strategy": "ordered"}
    gateway = await opened({"providers": {"local": settings}})
    first.reply_with(503, {"message": "it is going"})
    asked = {"query": "q", "documents": ["a", "b"], "model": "local/bge"}
    assert (await gateway.post("/v1/rerank", json=asked)).status_code == 200
    assert [len(each.requests) for each in (first, second)] == [1, 1]
    assert second.requests[0].headers["authorization"] == "Bearer k"
    assert second.requests[0].body["model"] == "bge"
    unknown = await gateway.post("/v1/rerank", json={**asked, "model": "local/bgr"})
    assert (unknown.status_code, "local/bge" in unknown.json()["message"]) == (404, True)
    assert [len(each.requests) for each in (first, second)] == [1, 1]
    listed = (await gateway.get("/v1/models")).json()["data"]
    assert [(each["id"], each["scoring"]) for each in listed] == [
        ("local/bge", "pointwise"),
        ("local/a/b", "pointwise"),
    ]


NOWHERE: dict[str, tuple[int, int]] = {
    # what the replicas' address says, and how often it is asked before the breaker keeps six calls from it
    "a path that nothing is served at": (404, 5),
    "a failure": (500, 5),
    "a request that is refused": (400, 6),
}


@pytest.mark.parametrize(("status", "calls"), NOWHERE.values(), ids=NOWHERE)
async def test_where_no_replica_is_the_breaker_opens_and_the_fallback_serves(
    opened, upstream, status: int, calls: int
) -> None:
    settings = {**ELSEWHERE, "base_url": upstream.url, "retry": {"retries": 0}}
    models = {"best": {"target": "local/bge", "fallbacks": ["passthrough/none"]}}
    gateway = await opened({"providers": {"local": settings, "passthrough": {}}, "models": models})
    upstream.reply_with(status, "Path '/local/v1/rerank' not found.")
    asked = {"query": "q", "documents": ["a", "b"], "model": "best"}
    for _ in range(6):
        answer = await gateway.post("/v1/rerank", json=asked)
        assert (answer.status_code, answer.headers["x-gateway-provider"]) == (200, "passthrough")
    assert len(upstream.requests) == calls


async def test_a_caller_is_told_that_no_replica_serves(opened, upstream) -> None:
    gateway = await opened({"providers": {"local": {**ELSEWHERE, "base_url": upstream.url}}})
    upstream.reply_with(404, "Path '/local/v1/rerank' not found.")
    answer = await gateway.post("/v1/rerank", json={"query": "q", "documents": ["a"], "model": "local/bge"})
    assert (answer.status_code, answer.json()["error_type"]) == (502, "upstream_error")
    assert answer.json()["message"].startswith('no "bge" is served at base_url (404): what holds it is still starting')


class Loaded:
    """A local model in this process."""

    closed = False

    async def rerank(self, request: RerankRequest) -> Ranking:
        return Ranking(results=[Ranked(0, 0.5)])

    async def ready(self) -> bool:
        return True

    async def aclose(self) -> None:
        self.closed = True


async def test_a_reload_moves_local_models_out_and_back(monkeypatch: pytest.MonkeyPatch, upstream) -> None:
    loaded: list[Loaded] = []
    adapter = registry.find("local")
    assert isinstance(adapter, LocalProvider)

    def load(model: LocalModel) -> Loaded:
        loaded.append(Loaded())
        return loaded[-1]

    monkeypatch.setattr("providers.adapters.local.PROVIDER", replace(adapter, open=load, problems=lambda model: []))
    models = {"m": {"path": "x"}}
    here = from_tree({"providers": {"local": {"models": models}}})
    there = from_tree({"providers": {"local": {"models": models, "base_url": upstream.url}}})
    at_first = build(here)
    for model in at_first.local_models():
        await model.load()
    moved = build(there, at_first)
    await at_first.aclose(moved)
    assert ([each.closed for each in loaded], moved.local_models(), moved.names()) == ([True], [], ["local/m"])
    back = build(here, moved)
    await moved.aclose(back)
    assert ([model.has_loaded for model in back.local_models()], back.names()) == ([False], ["local/m"])
    await back.aclose()


def test_an_adapter_of_local_models_may_have_no_other_place_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = registry.find("local")
    assert isinstance(adapter, LocalProvider)
    monkeypatch.setattr("providers.adapters.local.PROVIDER", replace(adapter, remote=None))
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": {"local": ELSEWHERE}})
    assert list(map(str, caught.value.problems)) == [
        "providers.local.base_url: models of the adapter local run in this process only"
    ]


SCALES: dict[str, tuple[Any, tuple[int, int] | str]] = {
    "left out": (None, (1, 1)),
    "a number": (3, (3, 3)),
    "a number in words": ("3", (3, 3)),
    "a range": ("1-8", (1, 8)),
    "a range with spaces": (" 2 - 4 ", (2, 4)),
    "a range of one": ("2-2", (2, 2)),
    "none": (0, "must be at least 1: a model that nobody holds takes long to come back"),
    "a range from none": ("0-4", "must be at least 1: a model that nobody holds takes long to come back"),
    "a range downwards": ("8-1", "is a range from 8 down to 1; write the smaller number first"),
    "too many": ("1-1001", "must be at most 1000"),
    "below none": (-1, "must be a number such as 2, or a range such as `1-8`"),
    "a part": (1.5, "must be a number such as 2, or a range such as `1-8`"),
    "a word": ("auto", "must be a number such as 2, or a range such as `1-8`"),
    "an open range": ("2-", "must be a number such as 2, or a range such as `1-8`"),
    "a list": ([1, 8], "must be a number such as 2, or a range such as `1-8`"),
    "a yes": (True, "must be a number such as 2, or a range such as `1-8`"),
    "nothing": ("", "must be a number such as 2, or a range such as `1-8`"),
}


@pytest.mark.parametrize(("written", "meant"), SCALES.values(), ids=SCALES)
def test_how_many_copies_there_are(written: Any, meant: tuple[int, int] | str) -> None:
    scale = {} if written is None else {"replicas": written}
    tree = {"providers": {"local": {**ELSEWHERE, "scale": scale}}}
    if isinstance(meant, tuple):
        settings = from_tree(tree).providers["local"].scale
        assert settings is not None
        assert settings.bounds == meant
        return
    with pytest.raises(ConfigError) as caught:
        from_tree(tree)
    assert list(map(str, caught.value.problems)) == [f"providers.local.scale.replicas: {meant}"]


SHARES: dict[str, tuple[dict[str, Any], str]] = {
    "no processor": ({"cpus": 0}, "scale.cpus: input should be greater than or equal to 0.1"),
    "more than a GPU and not two": (
        {"gpus": 1.5},
        "scale.gpus: must be a whole number, or a part of one GPU such as 0.5",
    ),
    "GPUs below none": ({"gpus": -1}, "scale.gpus: input should be greater than or equal to 0"),
    "an unknown key": ({"replica": 2}, 'scale.replica: unknown key; did you mean "replicas"?'),
}


@pytest.mark.parametrize(("scale", "problem"), SHARES.values(), ids=SHARES)
def test_what_a_copy_cannot_have(scale: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": {"local": {**ELSEWHERE, "scale": scale}}})
    assert list(map(str, caught.value.problems)) == [f"providers.local.{problem}"]


@pytest.mark.parametrize("name", registry.names())
def test_only_local_models_are_loaded_by_the_gateway(name: str) -> None:
    assert kinds.kind_of(registry.find(name)).loads_models is (name == "local")
