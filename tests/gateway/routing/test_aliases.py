"""An alias and the target behind it are told apart wherever a request leaves a trace, and fallbacks bring their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.access.keys import hash_of
from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.routing.routes import build

KEY = "rgw_test"
BODY = {"query": "q", "documents": ["a", "b"]}
NOBODY = {"adapter": "cohere", "base_url": "http://127.0.0.1:9", "retry": {"retries": 0}}


def tree(upstream: Any) -> dict[str, Any]:
    return {
        "auth": {"keys": [{"name": "team", "hash": hash_of(KEY)}]},
        "providers": {"up": {"adapter": "cohere", "base_url": upstream.url}, "down": NOBODY},
        "models": {
            "search": {"target": "up/rerank-v3.5"},
            "spare": {"target": "up/small"},
            "fragile": {"target": "down/m", "fallbacks": ["spare"]},
            "up/pinned": {"target": "up/rerank-v3.5"},
        },
    }


def has(metrics: str, name: str, **labels: str) -> bool:
    """Whether there is a series of that name with these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return any(line.startswith(f"{name}{{") and all(w in line for w in wanted) for line in metrics.splitlines())


TOLD: dict[str, tuple[str, str, str, str, str]] = {
    # asked for, `model` of the answer, the provider's name, the target and the alias of its usage
    "an alias": ("search", "search", "rerank-v3.5", "up/rerank-v3.5", "search"),
    "an alias with a slash": ("up/pinned", "up/pinned", "rerank-v3.5", "up/rerank-v3.5", "up/pinned"),
    "provider/model": ("up/rerank-v3.5", "rerank-v3.5", "rerank-v3.5", "up/rerank-v3.5", ""),
    "an alias whose fallback served": ("fragile", "spare", "small", "up/small", "fragile"),
}


@pytest.mark.parametrize(("asked", "shown", "model", "target", "alias"), TOLD.values(), ids=TOLD)
async def test_what_was_asked_for_and_what_served_are_told_apart(
    opened, upstream, capsys, asked, shown, model, target, alias
) -> None:
    gateway = await opened(tree(upstream))
    gateway.headers["authorization"] = f"Bearer {KEY}"
    answer = await gateway.post("/v1/rerank", json={**BODY, "model": asked})
    assert answer.headers["x-gateway-requested-model"] == asked
    assert (answer.headers["x-gateway-provider"], answer.headers["x-gateway-model"]) == ("up", model)
    reply = answer.json()
    fields = reply["extra_fields"]
    assert (reply["model"], fields["original_model_requested"]) == (shown, asked)
    assert fields.get("resolved_model_used", shown) == model
    (row,) = (await gateway.get("/v1/usage")).json()["data"]
    assert (row["model"], row.get("alias", "")) == (target, alias)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (logged,) = [line for line in lines if line["event"] == "request"]
    assert (logged["model"], logged["provider"], logged["served_model"]) == (asked, "up", model)
    metrics = (await gateway.get("/metrics")).text
    assert has(metrics, "rerank_gateway_requests_total", model=asked, provider="up", outcome="ok")
    assert has(metrics, "rerank_gateway_attempts_total", model=model, provider="up", outcome="ok")


async def test_usage_by_alias_survives_marks_in_the_names_that_callers_invent(opened, upstream) -> None:
    gateway = await opened(tree(upstream))
    gateway.headers["authorization"] = f"Bearer {KEY}"
    for name in ("up/a\x1eb", "search"):
        await gateway.post("/v1/rerank", json={**BODY, "model": name})
    rows = (await gateway.get("/v1/usage")).json()["data"]
    assert {(row["model"], row.get("alias", "")) for row in rows} == {
        ("up/a\x1eb", ""),
        ("up/rerank-v3.5", "search"),
    }


PROVIDERS: dict[str, Any] = {"p": {"adapter": "cohere", "base_url": "http://127.0.0.1:9"}}

CHAINS: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "a fallback's own come right after it": (
        {"m": {"target": "p/m", "fallbacks": ["a", "p/z"]}, "a": {"target": "p/a", "fallbacks": ["p/b"]}},
        ["a", "p/b", "p/z"],
        ["p/m", "p/a", "p/b", "p/z"],
    ),
    "over three aliases": (
        {
            "m": {"target": "p/m", "fallbacks": ["a"]},
            "a": {"target": "p/a", "fallbacks": ["b"]},
            "b": {"target": "p/b", "fallbacks": ["p/c"]},
        },
        ["a", "b", "p/c"],
        ["p/m", "p/a", "p/b", "p/c"],
    ),
    "two that bring the same": (
        {
            "m": {"target": "p/m", "fallbacks": ["a", "b"]},
            "a": {"target": "p/a", "fallbacks": ["p/c"]},
            "b": {"target": "p/b", "fallbacks": ["p/c"]},
        },
        ["a", "p/c", "b"],
        ["p/m", "p/a", "p/c", "p/b"],
    ),
    "an alias of a target that was tried": (
        {"m": {"target": "p/m", "fallbacks": ["a", "p/z"]}, "a": {"target": "p/m", "fallbacks": ["p/b"]}},
        ["a", "p/b", "p/z"],
        ["p/m", "p/b", "p/z"],
    ),
    "an alias of several targets, one of them tried": (
        {"m": {"target": "p/m", "fallbacks": ["a"]}, "a": {"targets": [{"target": "p/m"}, {"target": "p/b"}]}},
        ["a"],
        ["p/m", "p/b"],
    ),
    "a weighted alias of which only one is left": (
        {
            "m": {"target": "p/m", "fallbacks": ["a"]},
            "a": {"targets": [{"target": "p/m"}, {"target": "p/b"}], "strategy": "weighted", "hedge": {}},
        },
        ["a"],
        ["p/m", "p/b"],
    ),
    "its own target": ({"m": {"target": "p/m", "fallbacks": ["p/m", "p/b"]}}, ["p/m", "p/b"], ["p/m", "p/b"]),
}


@pytest.mark.parametrize(("models", "names", "paths"), CHAINS.values(), ids=CHAINS)
async def test_fallbacks_are_flattened_without_repeats(opened, models, names, paths) -> None:
    settings = {"providers": {"p": {**PROVIDERS["p"], "retry": {"retries": 0}}}, "models": models}
    routes = build(from_tree(settings))
    assert routes.fallbacks("m") == names
    await routes.aclose()
    gateway = await opened(settings)
    reply = (await gateway.post("/v1/rerank", json={**BODY, "model": "m"})).json()
    assert [f"p/{attempt['model']}" for attempt in reply["extra_fields"]["attempts"]] == paths


async def test_a_callers_own_fallback_brings_its_own_too() -> None:
    routes = build(from_tree({"providers": PROVIDERS, "models": CHAINS["two that bring the same"][0]}))
    assert routes.fallbacks("m", []) == []
    assert routes.fallbacks("m", ["b", "p/x"]) == ["b", "p/c", "p/x"]
    assert routes.fallbacks("p/x", ["a", "m"]) == ["a", "p/c", "m", "b"]
    await routes.aclose()


def alias(*fallbacks: str) -> dict[str, Any]:
    return {"target": "p/m", "fallbacks": list(fallbacks)}


CIRCLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "itself": (
        {"m": alias("p/x", "m")},
        ["models.m.fallbacks.1: leads back to where it began: m → m; take one of these fallbacks out"],
    ),
    "two": (
        {"a": alias("b"), "b": alias("a")},
        ["models.a.fallbacks.0: leads back to where it began: a → b → a; take one of these fallbacks out"],
    ),
    "three, and one that leads there": (
        {"z": alias("a"), "a": alias("b"), "b": alias("p/x", "c"), "c": alias("a")},
        ["models.a.fallbacks.0: leads back to where it began: a → b → c → a; take one of these fallbacks out"],
    ),
    "two circles": (
        {"a": alias("a"), "b": alias("c"), "c": alias("b")},
        [
            "models.a.fallbacks.0: leads back to where it began: a → a; take one of these fallbacks out",
            "models.b.fallbacks.0: leads back to where it began: b → c → b; take one of these fallbacks out",
        ],
    ),
    "too many in all": (
        {"a": alias(*(f"p/{n}" for n in range(9)), "b"), "b": alias(*(f"q{n}" for n in range(9)))}
        | {f"q{n}": alias() for n in range(9)},
        ["models.a.fallbacks: are 19 with those that they bring themselves; at most 16 are tried"],
    ),
}


@pytest.mark.parametrize(("models", "expected"), CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_a_problem_with_its_way(models, expected) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": PROVIDERS, "models": models})
    assert [str(problem) for problem in caught.value.problems] == expected


def test_a_long_way_of_aliases_is_read_in_little_time() -> None:
    models = {f"m{n}": alias(f"m{n + 1}") for n in range(2000)} | {"m2000": alias()}
    with pytest.raises(ConfigError, match=r"models\.m0\.fallbacks: are 2000 with those"):
        from_tree({"providers": PROVIDERS, "models": models})


async def test_a_sticky_alias_gives_each_key_one_target_and_the_keys_share_them_out(opened, upstream) -> None:
    names = [f"team-{number}" for number in range(12)]
    gateway = await opened(
        {
            "auth": {"keys": [{"name": name, "hash": hash_of(name)} for name in names]},
            "providers": {"up": {"adapter": "cohere", "base_url": upstream.url}},
            "models": {"search": {"targets": [{"target": "up/a"}, {"target": "up/b"}], "strategy": "sticky"}},
        }
    )
    served: dict[str, set[str]] = {name: set() for name in names}
    for name in names * 3:
        answer = await gateway.post(
            "/v1/rerank", json={**BODY, "model": "search"}, headers={"authorization": f"Bearer {name}"}
        )
        served[name].add(answer.headers["x-gateway-model"])
    assert all(len(models) == 1 for models in served.values())
    assert set.union(*served.values()) == {"a", "b"}
