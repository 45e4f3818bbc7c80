"""Models that are made of others, through a whole gateway: fused, in a cascade, and one within the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access.keys import hash_of
from gateway.access.memory import MemoryStore
from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.routing.facts import facts_of
from gateway.routing.pricing import TargetPricing
from gateway.routing.routes import build
from providers.testing.upstream import ReceivedRequest, Reply

KEY = "rgw_test"
TEXTS = ["one", "three", "five", "seven", "eleven"]
BODY = {"query": "q", "documents": TEXTS}


def by_length(text: str) -> float:
    return len(text) / 10


def by_letters(text: str) -> float:
    return sum(map(ord, text)) % 97 / 97


SCORERS: dict[str, Callable[[str], float]] = {
    "length": by_length,
    "letters": by_letters,
    "short": lambda t: -by_length(t),
}


class Vendor:
    """Scores by the model's name. Models in `broken` fail, and those in `slow` take so many seconds."""

    def __init__(self) -> None:
        self.broken: dict[str, int] = {}
        self.slow: dict[str, float] = {}
        self.asked: list[tuple[str, list[str], int | None]] = []

    def __call__(self, request: ReceivedRequest) -> Reply:
        model, documents = request.body["model"], request.body["documents"]
        self.asked.append((model, documents, request.body.get("top_n")))
        time.sleep(self.slow.get(model, 0.0))
        if model in self.broken:
            return Reply(self.broken[model], {"message": "no"})
        scores = [SCORERS.get(model, by_length)(text) for text in documents]
        rows = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        rows.sort(key=lambda row: -row["relevance_score"])
        meta = {"billed_units": {"search_units": 1}}
        return Reply(200, {"id": "x", "results": rows[: request.body.get("top_n")], "meta": meta})

    def models(self) -> list[str]:
        return [model for model, _, _ in self.asked]


@pytest.fixture
def vendor(upstream) -> Vendor:
    upstream.behaviour = Vendor()
    return upstream.behaviour


@pytest.fixture
def tree(upstream) -> dict[str, Any]:
    provider = {"adapter": "cohere", "base_url": upstream.url, "retry": {"retries": 0}, "proxy": "none"}
    return {
        "providers": {"up": provider, "also": dict(provider), "passthrough": {}},
        "prices": {"up/*": {"per_search": 0.002}, "also/*": {"per_search": 0.005}},
        "models": {
            "hybrid": {"fuse": ["up/length", "also/letters"]},
            "tolerant": {"fuse": ["up/length", "also/letters", "up/short"], "require": 2},
            "weighted": {"fuse": ["up/length", "passthrough/x"], "method": "weighted_scores", "weights": [1, 3]},
            "incoming": {"fuse": ["up/length", "passthrough/x"], "weights": [1, 1000], "require": 1},
            "thrifty": {"cascade": [{"model": "up/length", "keep": 3}, {"model": "also/letters", "keep": 2}]},
            "nested": {"cascade": [{"model": "hybrid", "keep": 2}, {"model": "up/short"}], "fallbacks": ["spare"]},
            "spare": {"target": "up/spare"},
            "safe": {"fuse": ["backed", "also/letters"]},
            "backed": {"target": "up/length", "fallbacks": ["spare"]},
            "unranked": {"fuse": ["giving-up", "also/letters"], "require": 1},
            "giving-up": {"target": "up/length", "fallbacks": ["passthrough/x"]},
        },
    }


async def ask(client: Any, model: str, status: int = 200, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/rerank", json={**BODY, "model": model, **fields})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def order(answer: dict[str, Any]) -> list[int]:
    return [result["index"] for result in answer["results"]]


async def test_a_fused_answer_tells_of_its_members(opened, tree, vendor) -> None:
    gateway = await opened(tree)
    answer = await ask(gateway, "hybrid", top_n=3)
    expected = [sum(1 / (60 + rank) for rank in ranks) for ranks in expected_ranks()]
    best = sorted(range(5), key=lambda index: (-expected[index], index))[:3]
    assert order(answer) == best
    assert [r["relevance_score"] for r in answer["results"]] == pytest.approx([expected[index] for index in best])
    assert sorted(vendor.asked) == [("length", TEXTS, None), ("letters", TEXTS, None)]  # top_n comes last
    fields = answer["extra_fields"]
    assert (answer["model"], fields["provider"], fields["score_space"]) == ("hybrid", "up+also", "unknown")
    assert fields["cost"] == pytest.approx(0.007)
    assert [(each["model"], each["documents"], each["cost"]) for each in fields["members"]] == [
        ("up/length", 5, 0.002),
        ("also/letters", 5, 0.005),
    ]
    assert {attempt["member"] for attempt in fields["attempts"]} == {"up/length", "also/letters"}
    assert answer["usage"]["search_units"] == 2
    metrics = (await gateway.get("/metrics")).text
    for name in ("retries", "hedges", "fallbacks_served"):
        lines = [line for line in metrics.splitlines() if line.startswith(f"rerank_gateway_{name}_total{{")]
        assert not [line for line in lines if not line.endswith(" 0.0") and not line.endswith(" 0")], name


def expected_ranks() -> list[list[float]]:
    """The ranks of each text by both scorers; equal scores share the mean of their places."""

    def ranks(scorer: Callable[[str], float]) -> list[float]:
        scores = [scorer(text) for text in TEXTS]
        return [sum(o > s for o in scores) + (1 + scores.count(s)) / 2 for s in scores]

    return [list(pair) for pair in zip(ranks(by_length), ranks(by_letters), strict=True)]


async def test_members_are_asked_at_once(opened, tree, vendor, upstream) -> None:
    gateway = await opened(tree)
    upstream.hold()
    asking = asyncio.create_task(ask(gateway, "tolerant"))
    async with asyncio.timeout(20):
        while len(vendor.asked) < 3:  # noqa: ASYNC110  # another thread appends to it
            await asyncio.sleep(0.001)
    assert not asking.done()
    upstream.release()
    await asking
    assert len(vendor.asked) == 3


FAILURES: dict[str, tuple[str, dict[str, int], int, list[str]]] = {
    # model, what fails, status, error types of the members in the answer
    "one of three, two are required": ("tolerant", {"short": 500}, 200, ["upstream_error"]),
    "two of three": ("tolerant", {"short": 500, "length": 503}, 503, []),
    "one of two, all are required": ("hybrid", {"letters": 500}, 502, []),
    "a refusal is told rather than an outage": ("tolerant", {"short": 500, "length": 400}, 400, []),
    "all but the incoming order": ("incoming", {"length": 500}, 502, []),
    "a member whose fallback serves": ("safe", {"length": 500}, 200, []),
    "a member whose fallback is a passthrough": ("unranked", {"length": 500}, 200, ["upstream_error"]),
    "nothing but passthroughs": ("unranked", {"length": 500, "letters": 500}, 502, []),
}


@pytest.mark.parametrize(("model", "broken", "status", "errors"), FAILURES.values(), ids=FAILURES)
async def test_members_may_fail_down_to_those_required(opened, tree, vendor, model, broken, status, errors) -> None:
    vendor.broken = broken
    gateway = await opened(tree)
    answer = await ask(gateway, model, status)
    if status == 200:
        told = [each["error_type"] for each in answer["extra_fields"]["members"] if "error_type" in each]
        assert told == errors
        assert "degraded" not in answer["extra_fields"]
    else:
        assert {attempt["member"].partition(" > ")[0] for attempt in answer["extra_fields"]["attempts"]}


def scored(*scores: float | None) -> list[Any]:
    return [
        text if score is None else {"text": text, "score": score} for text, score in zip(TEXTS, scores, strict=True)
    ]


INCOMING: dict[str, tuple[str, list[Any], list[int]]] = {
    "without scores it is the order sent": ("incoming", TEXTS, [0, 1, 2, 3, 4]),
    "by their scores": ("incoming", scored(1, 5, 3, 2, 4), [1, 4, 2, 3, 0]),
    "equal scores are told apart by the model": ("incoming", scored(7, 7, 7, 7, 7), [4, 1, 3, 2, 0]),
    "those without a score come last": ("incoming", scored(None, 1, None, 2, None), [3, 1, 4, 2, 0]),
    "scores as they are": ("weighted", scored(0, 0, 0, 0, 9.5), [4, 1, 3, 2, 0]),
    "a place counts where there is no score": ("weighted", TEXTS, [0, 1, 2, 3, 4]),
}  # fmt: skip


@pytest.mark.parametrize(("model", "documents", "expected"), INCOMING.values(), ids=INCOMING)
async def test_a_passthrough_stands_for_the_incoming_order(opened, tree, vendor, model, documents, expected) -> None:
    gateway = await opened(tree)
    answer = await ask(gateway, model, documents=documents)
    assert order(answer) == expected
    assert vendor.asked == [("length", TEXTS, None)]  # no upstream is told of scores
    assert answer["extra_fields"]["provider"] == "up"
    assert "warnings" not in answer["extra_fields"]


BAD_SCORES: dict[str, Any] = {"a text": "5", "a boolean": True, "a list": [1], "beyond all numbers": 10**400}


@pytest.mark.parametrize("score", BAD_SCORES.values(), ids=BAD_SCORES)
async def test_a_score_that_is_no_number_is_refused_with_its_place(opened, tree, vendor, score) -> None:
    gateway = await opened(tree)
    answer = await ask(gateway, "incoming", 400, documents=["a", {"text": "b", "score": score}])
    assert "$.documents[1].score" in answer["message"] or "number out of range" in answer["message"]


async def test_the_score_of_a_record_is_its_own(opened, tree, vendor) -> None:
    gateway = await opened(tree)
    await ask(gateway, "incoming", documents=[{"title": "x", "score": "high"}, {"title": "y", "score": 2}])
    assert vendor.asked[0][1] == ["title: x\nscore: high\n", "title: y\nscore: 2\n"]


async def test_a_stage_that_ranked_nothing_is_told(opened, tree, vendor) -> None:
    tree["providers"]["order"] = {"adapter": "passthrough"}
    tree["models"]["cheap"] = {"target": "up/gone", "fallbacks": ["order/any"]}
    tree["models"]["two"] = {"cascade": [{"model": "cheap", "keep": 3}, {"model": "up/short"}]}
    vendor.broken["gone"] = 400
    gateway = await opened(tree)
    reply = (await gateway.post("/v1/rerank", json={**BODY, "model": "two"})).json()
    assert sorted(row["index"] for row in reply["results"]) == [0, 1, 2]
    codes = [warning["code"] for warning in reply["extra_fields"]["warnings"]]
    assert "stage_not_ranked" in codes
    assert "degraded" not in reply["extra_fields"], "the last stage did rank"


async def test_a_cascade_cuts_and_then_ranks(opened, tree, vendor) -> None:
    gateway = await opened(tree)
    answer = await ask(gateway, "thrifty", return_documents=True)
    longest = sorted(range(5), key=lambda n: (-by_length(TEXTS[n]), n))[:3]
    best = sorted(longest, key=lambda n: -by_letters(TEXTS[n]))[:2]
    assert order(answer) == best
    assert [r["relevance_score"] for r in answer["results"]] == [by_letters(TEXTS[n]) for n in best]
    assert [r["document"]["text"] for r in answer["results"]] == [TEXTS[n] for n in best]
    assert vendor.asked == [("length", TEXTS, 3), ("letters", [TEXTS[n] for n in longest], 2)]
    fields = answer["extra_fields"]
    assert (answer["model"], fields["provider"], fields["resolved_model_used"]) == ("thrifty", "also", "letters")
    assert fields["cost"] == pytest.approx(0.007)
    stages = [{name: each[name] for name in ("model", "documents", "kept", "cost")} for each in fields["stages"]]
    assert stages == [
        {"model": "up/length", "documents": 5, "kept": 3, "cost": 0.002},
        {"model": "also/letters", "documents": 3, "kept": 2, "cost": 0.005},
    ]


CASCADES: dict[str, tuple[str, dict[str, Any], list[tuple[str, int, int | None]]]] = {
    # model, fields of the request, what was asked: model, documents, top_n
    "top_n below keep": ("thrifty", {"top_n": 1}, [("length", 5, 3), ("letters", 3, 1)]),
    "top_n above keep": ("thrifty", {"top_n": 4}, [("length", 5, 3), ("letters", 3, 2)]),
    "nothing to cut": ("thrifty", {"documents": ["a", "bb", "ccc"]}, [("letters", 3, 2)]),
    "one document": ("thrifty", {"documents": ["a"]}, [("letters", 1, 1)]),
    "a fused stage": ("nested", {}, [("length", 5, None), ("letters", 5, None), ("short", 2, None)]),
}


@pytest.mark.parametrize(("model", "fields", "asked"), CASCADES.values(), ids=CASCADES)
async def test_what_each_stage_is_asked(opened, tree, vendor, model, fields, asked) -> None:
    gateway = await opened(tree)
    await ask(gateway, model, **fields)
    assert sorted((name, len(texts), top) for name, texts, top in vendor.asked) == sorted(asked)


@pytest.mark.parametrize("broken", ["length", "short"])
async def test_a_stage_that_fails_leaves_the_request_to_the_fallbacks(opened, tree, vendor, broken) -> None:
    vendor.broken = {broken: 500}
    gateway = await opened(tree)
    answer = await ask(gateway, "nested")
    assert (answer["model"], answer["extra_fields"]["cost"]) == ("spare", 0.002)
    assert len(answer["results"]) == 5  # one model's, and not a mixture
    assert "stages" not in answer["extra_fields"]


TWO_ORDERS = {"fuse": ["passthrough/x", "passthrough/y"]}
FUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "passthroughs": ({"it": TWO_ORDERS}, ["it"]),
    "with a fallback": ({"it": {**TWO_ORDERS, "fallbacks": ["spare"]}}, ["it"]),
    "names of passthroughs": ({"order": "passthrough/x", "it": {"fuse": ["order", "passthrough/y"]}}, ["it"]),
    "a name with two targets": (
        {"two": {"targets": [{"target": "passthrough/x"}, {"target": "passthrough/z"}]},
         "it": {"fuse": ["two", "passthrough/y"]}}, ["it"],
    ),
    "a cascade that ends in one": (
        {"steps": {"cascade": [{"model": "up/length", "keep": 2}, {"model": "passthrough/x"}]},
         "it": {"fuse": ["steps", "passthrough/y"]}}, ["it"],
    ),
    "of fused ones": ({"orders": TWO_ORDERS, "it": {"fuse": ["orders", "passthrough/z"]}}, ["orders", "it"]),
    "one that ranks": ({"it": {"fuse": ["up/length", "passthrough/y"]}}, []),
    "one of two targets that ranks": (
        {"two": {"targets": [{"target": "passthrough/x"}, {"target": "up/length"}]},
         "it": {"fuse": ["two", "passthrough/y"]}}, [],
    ),
    "a cascade that begins with one": (
        {"steps": {"cascade": [{"model": "passthrough/x", "keep": 2}, {"model": "up/length"}]},
         "it": {"fuse": ["steps", "passthrough/y"]}}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("models", "refused"), FUSED.values(), ids=FUSED)
def test_what_is_fused_needs_a_model_that_ranks(tree, vendor, models: dict[str, Any], refused: list[str]) -> None:
    tree["models"] |= models
    if not refused:
        from_tree(tree)
        return
    with pytest.raises(ConfigError) as raised:
        from_tree(tree)
    told = [problem.path for problem in raised.value.problems if "passthroughs alone" in problem.message]
    assert sorted(told) == sorted(f"models.{name}.fuse" for name in refused)


@pytest.mark.parametrize("method", ["rrf", "mean_rank", "weighted_scores"])
async def test_a_stage_may_keep_no_document_with_a_score(opened, tree, vendor, method) -> None:
    tree["models"]["fused"] = {"fuse": ["also/letters", "passthrough/x"], "method": method, "weights": [1, 1000]}
    tree["models"]["two-steps"] = {"cascade": [{"model": "up/length", "keep": 3}, {"model": "fused"}]}
    gateway = await opened(tree)
    documents = [{"text": "one", "score": 3.5}, *TEXTS[1:]]
    answer = await ask(gateway, "two-steps", documents=documents)
    assert order(answer) == [4, 1, 3]  # as the stage before has ranked them


async def test_cut_documents_are_told_by_the_callers_places(opened, tree, vendor) -> None:
    for name in ("up", "also"):
        tree["providers"][name]["adapter"] = "cohere-v1"  # which leaves cutting to the gateway
    gateway = await opened(tree)
    documents = ["a", "word " * 60, "b", "text " * 70, "c"]
    for model in ("thrifty", "hybrid"):
        vendor.asked.clear()
        fields = (await ask(gateway, model, documents=documents, max_tokens_per_doc=30))["extra_fields"]
        assert [cut["index"] for cut in fields["truncated"]] == [1, 3]
        assert fields["truncated_documents"] == 2  # each once, though two models have cut it
        sent = {len(text) for _, texts, _ in vendor.asked for text in texts}
        assert {cut["kept"] for cut in fields["truncated"]} == sent - {1}


async def test_a_stage_has_no_more_than_its_share_of_the_time(opened, tree, vendor) -> None:
    vendor.slow = {"length": 5.0}
    gateway = await opened(tree)
    start = time.monotonic()
    answer = await gateway.post(
        "/v1/rerank", json={**BODY, "model": "thrifty"}, headers={"x-request-timeout-ms": "3000"}
    )
    assert answer.status_code == 504
    assert time.monotonic() - start < 2.75


async def test_a_caller_who_hangs_up_ends_all_members(opened, tree, vendor, upstream) -> None:
    from gateway.routing.routes import build as build_routes
    from gateway.telemetry.recorder import RequestRecorder
    from providers.types import Call, RerankRequest

    upstream.hold()
    routes = build_routes(from_tree(tree))
    recorder = RequestRecorder()
    request = RerankRequest(model="hybrid", query="q", documents=TEXTS, call=Call(id="1", recorder=recorder))
    (step,) = routes.steps(["hybrid"])
    task = asyncio.ensure_future(step.backend.rerank(request))
    while len(upstream.requests) < 2:  # noqa: ASYNC110  # another thread appends to it
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    upstream.release()
    assert sorted((each.member, each.error_type) for each in recorder.attempts) == [
        ("also/letters", "cancelled"),
        ("up/length", "cancelled"),
    ]
    assert not any(state.active for state in routes.targets._states.values())
    await routes.aclose()


@pytest.mark.parametrize("model", ["hybrid", "thrifty"])
async def test_scores_of_pairs_are_refused(opened, tree, vendor, model) -> None:
    gateway = await opened(tree)
    answer = await gateway.post("/score", json={"model": model, "text_1": "q", "text_2": ["a", "b"]})
    assert answer.status_code == 400
    assert "gives no scores of pairs" in answer.text
    assert vendor.asked == []


THRESHOLDS: dict[str, tuple[str, dict[str, Any], int, set[str]]] = {
    # model, fields, results, warnings
    "a fused model's own scores": ("hybrid", {"min_score": 0.0325}, 1, set()),
    "a cascade's are its last model's": ("thrifty", {"min_score": 0.9}, 0, set()),
    "no probabilities of ranks": ("hybrid", {"scores": "probability"}, 5, {"scores_not_converted"}),
    "a calibration of the fused model": ("calibrated", {"scores": "probability", "min_score": 0.5}, 5, set()),
}


@pytest.mark.parametrize(("model", "fields", "count", "warnings"), THRESHOLDS.values(), ids=THRESHOLDS)
async def test_the_score_contract_holds(opened, tree, vendor, model, fields, count, warnings) -> None:
    tree["models"]["calibrated"] = {"fuse": ["up/length", "also/letters"]}
    tree["calibrations"] = {"calibrated": {"platt": {"slope": 100, "intercept": 0}}}
    gateway = await opened(tree)
    answer = await ask(gateway, model, **fields)
    assert len(answer["results"]) == count
    assert {warning["code"] for warning in answer["extra_fields"].get("warnings", [])} == warnings


BUDGETS: dict[str, tuple[str, dict[str, int], float]] = {
    # model, what fails, US dollars spent
    "all members of an answer": ("hybrid", {}, 0.007),
    "both stages": ("thrifty", {}, 0.007),
    "the answer that a failed fusion did not use": ("hybrid", {"letters": 500}, 0.002),
    "a stage before the one that failed, and the fallback": ("nested", {"short": 500}, 0.009),
}


@pytest.mark.parametrize(("model", "broken", "spent"), BUDGETS.values(), ids=BUDGETS)
async def test_budgets_pay_for_all_that_was_billed(opened, tree, vendor, model, broken, spent) -> None:
    vendor.broken = broken
    budget = {"usd": 1.0, "period": "month", "warn_at": 0.000001}
    tree["auth"] = {"keys": [{"name": "team", "hash": hash_of(KEY), "budget": budget}]}
    gateway = await opened(tree)
    gateway.headers["authorization"] = f"Bearer {KEY}"
    await gateway.post("/v1/rerank", json={**BODY, "model": model})
    answer = await gateway.post("/v1/rerank", json={**BODY, "model": "up/length"})
    reserved = 0.002  # of the second request
    assert answer.headers["x-budget-warning"].startswith(f"{100 * (spent + reserved):.1f}% ")


def test_a_budget_reserves_for_all_members(tree) -> None:
    pricing = TargetPricing(from_tree(tree), MemoryStore())
    (price,) = pricing.prices("hybrid")
    assert price is not None
    assert price.max_cost(chunks=1, tokens=0) == 7_000_000
    tree["prices"].pop("also/*")
    assert TargetPricing(from_tree(tree), MemoryStore()).prices("thrifty") == [None]


PROVIDERS = {"p": {"adapter": "cohere", "base_url": "http://127.0.0.1:9"}}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "models.m: set one of target, targets, fuse and cascade"),
    "two of them": (
        {"target": "p/a", "fuse": ["p/a", "p/b"]},
        "models.m: set one of target, targets, fuse and cascade",
    ),
    "one to fuse": ({"fuse": ["p/a"]}, "models.m: fuse must name at least two models, none twice"),
    "one twice": ({"fuse": ["p/a", "p/a"]}, "models.m: fuse must name at least two models, none twice"),
    "more required than there are": (
        {"fuse": ["p/a", "p/b"], "require": 3},
        "models.m: require is 3, but fuse has only 2 models",
    ),
    "weights": (
        {"fuse": ["p/a", "p/b"], "weights": [1]},
        "models.m: weights must have one number for each of the 2 models of fuse",
    ),
    "settings of fuse without it": (
        {"target": "p/a", "require": 1},
        "models.m: method, weights and require are for fuse",
    ),
    "a strategy": (
        {"fuse": ["p/a", "p/b"], "strategy": "weighted"},
        "models.m: strategy and hedge are for targets; set them for the models that this one is made of",
    ),
    "one stage": ({"cascade": [{"model": "p/a"}]}, "models.m.cascade: needs at least two stages"),
    "a stage that keeps all": (
        {"cascade": [{"model": "p/a"}, {"model": "p/b"}]},
        "models.m.cascade: every stage but the last needs keep",
    ),
    "a stage that keeps more": (
        {"cascade": [{"model": "p/a", "keep": 5}, {"model": "p/b", "keep": 6}]},
        "models.m.cascade: no stage can keep more than the one before it",
    ),
    "an unknown member": ({"fuse": ["p/a", "q/b"]}, 'models.m.fuse.1: unknown provider "q"'),
    "an unknown stage": (
        {"cascade": [{"model": "nobody", "keep": 5}, {"model": "p/b"}]},
        'models.m.cascade.0.model: "nobody" is neither a name under models',
    ),
    "itself": (
        {"fuse": ["p/a", "m"]},
        "models.m.fuse.1: leads back to where it began: m → m; take one of these models out",
    ),
    "a circle over a cascade": (
        {"cascade": [{"model": "other", "keep": 5}, {"model": "p/b"}]},
        "models.m.cascade.0: leads back to where it began: m → other → m; take one of these models out",
    ),
    "a circle over a member's fallback": (
        {"fuse": ["falls", "p/b"]},
        "models.m.fuse.0: leads back to where it began: m → falls → m; take one of these models out",
    ),
    "too many in all": ({"fuse": ["c", "p/z"]}, "models.m: asks 65 models with those that its models are made of"),
}
OTHERS = {
    "other": {"fuse": ["m", "p/c"]},
    "falls": {"target": "p/f", "fallbacks": ["m"]},
    "c": {"fuse": [f"x{n}" for n in range(8)]},
    **{f"x{n}": {"fuse": [f"p/{letter}" for letter in "abcdefgh"]} for n in range(8)},
}


@pytest.mark.parametrize(("settings_of_m", "problem"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_made_is_refused(settings_of_m, problem) -> None:
    with pytest.raises(ConfigError) as caught:
        from_tree({"providers": PROVIDERS, "models": {"m": settings_of_m, **OTHERS}})
    assert any(str(each).startswith(problem) for each in caught.value.problems), caught.value.problems


async def test_what_is_known_of_such_models(tree) -> None:
    config = from_tree(tree)
    routes = build(config)
    assert config.paths("nested") == ["up/short", "up/length", "also/letters"]
    assert set(config.paths("safe")) == {"up/length", "up/spare", "also/letters"}
    assert facts_of(config, "hybrid").scoring == facts_of(config, "thrifty").scoring == "listwise"
    assert facts_of(config, "thrifty").documents == facts_of(config, "up/length").documents
    assert routes.is_known("nested")
    assert routes.owner("hybrid") == "up"
    await routes.aclose()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=12, unique_by=(len, by_letters)
    ),
    draw=st.randoms(use_true_random=False),
    model=st.sampled_from(["hybrid", "tolerant", "thrifty", "nested"]),
)
async def test_the_order_of_the_documents_does_not_matter(upstream_free, documents, draw: Random, model) -> None:
    """Fused scores may tie, and ties are then shown by index: so scores are compared by text."""
    plain = await upstream_free(model, documents)
    shuffled = list(documents)
    draw.shuffle(shuffled)
    moved = await upstream_free(model, shuffled)
    if model in ("hybrid", "tolerant", "thrifty"):
        assert {documents[r.index]: r.relevance_score for r in plain.results} == {
            shuffled[r.index]: r.relevance_score for r in moved.results
        }
    scores = [r.relevance_score for r in moved.results]
    assert scores == sorted(scores, reverse=True)


@pytest.fixture
def upstream_free(monkeypatch) -> Callable[..., Any]:
    """Ask such models without any network: the backend of every target scores in this process."""
    from gateway.backends.http import HttpBackend
    from providers.types import Call, Ranked, Ranking, RerankRequest

    async def rerank(self: Any, request: RerankRequest) -> Ranking:
        scores = [SCORERS[request.model](str(text)) for text in request.documents]
        return Ranking(results=[Ranked(index, score) for index, score in enumerate(scores)])

    monkeypatch.setattr(HttpBackend, "rerank", rerank)
    models = {
        "hybrid": {"fuse": ["p/length", "p/letters"]},
        "tolerant": {"fuse": ["p/length", "p/letters", "p/short"], "method": "mean_rank", "weights": [1, 2, 4]},
        "thrifty": {"cascade": [{"model": "p/length", "keep": 4}, {"model": "p/letters", "keep": 2}]},
        "nested": {"cascade": [{"model": "hybrid", "keep": 2}, {"model": "p/short"}]},
    }
    tree = {"providers": PROVIDERS, "models": models}

    async def ask_model(model: str, documents: list[str]) -> Any:
        routes = build(from_tree(tree))
        (step,) = routes.steps([model])
        ranking = await step.backend.rerank(
            RerankRequest(model=model, query="q", documents=list(documents), call=Call(id="1"))
        )
        await routes.aclose()
        return ranking

    return ask_model
