"""What callers get of a target's scores: its space, probabilities, a threshold, and a mark where one cannot be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.calibrations import CalibrationSettings
from gateway.config.loader import from_tree
from gateway.policy.target_facts import TargetFacts
from gateway.routing.scores import ScoreContract
from providers.testing import ScriptedUpstream
from providers.types import Ranked, Ranking, RerankRequest
from tests.conftest import Open

SCORES = [2.0, 0.0, -2.0]
UNITS = [0.9, 0.4, 0.1]
COSINES = [0.8, 0.1, -0.5]
GIVEN = {"probability": UNITS, "calibrated": UNITS, "cosine": COSINES}
"""What a target gives whose scores are of this space; of any other SCORES."""
SIGMOIDS = [1 / (1 + math.exp(-score)) for score in SCORES]
PLATT = {"platt": {"slope": 3, "intercept": -1}}
STEPS = {"isotonic": [[-1, 0.1], [0, 0.4], [0.5, 0.9]]}


@pytest.fixture
def answering(upstream: ScriptedUpstream) -> Callable[..., dict[str, Any]]:
    """Providers of these names, whose models score three documents in their order by what their space has."""

    def tree(space: str, first: str = "probability", given: list[float] | None = None, **more: Any) -> dict[str, Any]:
        scores = enumerate(given or GIVEN.get(space, SCORES))
        upstream.reply_with(200, {"results": [{"index": n, "relevance_score": score} for n, score in scores]})

        def provider(space: str, **own: Any) -> dict[str, Any]:
            known = {"*": {"score_space": space}}
            return {"adapter": "vllm", "base_url": upstream.url, "capabilities": known, "proxy": "none", **own}

        dead = provider(first, base_url="http://127.0.0.1:1", retry={"retries": 0})
        return {
            "providers": {"up": provider(space), "dead": dead, "passthrough": {}},
            "models": {
                "best": {"target": "up/m"},
                "second": {"targets": [{"target": "dead/m"}, {"target": "up/m"}]},
                "last": {"target": "dead/m", "fallbacks": ["passthrough/order"]},
                "set": {"target": "up/m", "scores": "probability", "min_score": 0.4},
            },
            **more,
        }

    return tree


async def ask(client: httpx.AsyncClient, model: str = "best", **fields: Any) -> dict[str, Any]:
    body = {"model": model, "query": "q", "documents": ["a", "b", "c"], **fields}
    answer = await client.post("/v1/rerank", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def scores(answer: dict[str, Any]) -> list[float]:
    return [row["relevance_score"] for row in answer["results"]]


def warnings(answer: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in answer["extra_fields"].get("warnings", [])]


_probability = CalibrationSettings.model_validate(PLATT).probability
CALIBRATED = [_probability(score) for score in SCORES]
CALIBRATED_COSINES = [_probability(score) for score in COSINES]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, list[float], list[str]]]] = {
    "as the model gives them": ({"space": "logit"}, {}, ("logit", SCORES, [])),
    "asked for by name": ({"space": "logit"}, {"scores": "provider"}, ("logit", SCORES, [])),
    "logits through a sigmoid": ({"space": "logit"}, {"scores": "probability"}, ("probability", SIGMOIDS, [])),
    "probabilities untouched": ({"space": "probability"}, {"scores": "probability"}, ("probability", UNITS, [])),
    "calibrated ones untouched": ({"space": "calibrated"}, {"scores": "probability"}, ("calibrated", UNITS, [])),
    "a cosine is none": ({"space": "cosine"}, {"scores": "probability"}, ("cosine", COSINES, ["scores_not_converted"])),
    "nor what is unknown": (
        {"space": "unknown"}, {"scores": "probability"}, ("unknown", SCORES, ["scores_not_converted"]),
    ),
    "a cosine by its calibration": (
        {"space": "cosine", "calibrations": {"up/m": PLATT}}, {"scores": "probability"},
        ("calibrated", CALIBRATED_COSINES, []),
    ),
    "by steps": (
        {"space": "cosine", "calibrations": {"up/m": STEPS}}, {"scores": "probability"},
        ("calibrated", [0.9, 0.4, 0.1], []),
    ),
    "a calibration of logits comes before the sigmoid": (
        {"space": "logit", "calibrations": {"up/m": PLATT}}, {"scores": "probability"}, ("calibrated", CALIBRATED, []),
    ),
    "another model's calibration": (
        {"space": "cosine", "calibrations": {"up/n": PLATT}}, {"scores": "probability"},
        ("cosine", COSINES, ["scores_not_converted"]),
    ),
    "no calibration where none is asked for": (
        {"space": "cosine", "calibrations": {"up/m": PLATT}}, {}, ("cosine", COSINES, []),
    ),
    "the caller's own wish for logits": (
        {"space": "probability", "given": SCORES}, {"use_activation": False}, ("logit", SCORES, []),
    ),
    "logits that were asked for, made probabilities": (
        {"space": "probability", "given": SCORES, "calibrations": {"up/m": PLATT}},
        {"use_activation": False, "scores": "probability"},
        ("probability", SIGMOIDS, []),
    ),
    "a wish that changes nothing": ({"space": "probability"}, {"use_activation": True}, ("probability", UNITS, [])),
    "a threshold": ({"space": "logit"}, {"min_score": 0.0}, ("logit", SCORES[:2], [])),
    "a threshold after the sigmoid": (
        {"space": "logit"}, {"scores": "probability", "min_score": 0.6}, ("probability", SIGMOIDS[:1], []),
    ),
    "a threshold above all": ({"space": "logit"}, {"min_score": 9}, ("logit", [], [])),
    "a threshold and a limit": ({"space": "logit"}, {"min_score": 0, "top_n": 1}, ("logit", SCORES[:1], [])),
    "a threshold for probabilities that could not be had": (
        {"space": "cosine"}, {"scores": "probability", "min_score": 0.9},
        ("cosine", COSINES, ["scores_not_converted", "min_score_not_applied"]),
    ),
    "a threshold in a space that nobody knows": ({"space": "unknown"}, {"min_score": 1}, ("unknown", SCORES[:1], [])),
    "probabilities that are none": (
        {"space": "probability", "given": [7.9, 0.5, -3.1]}, {}, ("unknown", [7.9, 0.5, -3.1], ["score_space_differs"]),
    ),
    "probabilities of which one is too high": (
        {"space": "probability", "given": [1.1, 0.5, 0.1]}, {"scores": "probability"},
        ("unknown", [1.1, 0.5, 0.1], ["scores_not_converted"]),
    ),
    "probabilities of which one is too low": (
        {"space": "calibrated", "given": [0.9, 0.5, -0.1]}, {"scores": "probability"},
        ("unknown", [0.9, 0.5, -0.1], ["scores_not_converted"]),
    ),
    "the ends are probabilities": (
        {"space": "probability", "given": [1.0, 0.5, 0.0]}, {"min_score": 0.5}, ("probability", [1.0, 0.5], []),
    ),
    "a cosine that is none": (
        {"space": "cosine", "given": [7.9, 0.5, -3.1]}, {}, ("unknown", [7.9, 0.5, -3.1], ["score_space_differs"]),
    ),
    "a cosine that was rounded": (
        {"space": "cosine", "given": [1.004, 0.5, -1.0]}, {}, ("cosine", [1.004, 0.5, -1.0], []),
    ),
    "a threshold for probabilities that are none": (
        {"space": "probability", "given": [7.9, 0.5, -3.1]}, {"min_score": 0.4},
        ("unknown", [7.9, 0.5, -3.1], ["score_space_differs", "min_score_not_applied"]),
    ),
    "a calibration of probabilities that are none": (
        {"space": "probability", "given": [7.9, 0.5, -3.1], "calibrations": {"up/m": PLATT}},
        {"scores": "probability", "min_score": 0.4},
        ("unknown", [7.9, 0.5, -3.1], ["scores_not_converted", "min_score_not_applied"]),
    ),
    "null is absent": ({"space": "logit"}, {"min_score": None, "scores": None}, ("logit", SCORES, [])),
    "a fallback of the same kind": ({"space": "probability"}, {"model": "second"}, ("probability", UNITS, [])),
    "a fallback of another kind": ({"space": "logit"}, {"model": "second"}, ("logit", SCORES, ["score_space_differs"])),
    "a fallback of a kind that nobody knows": (
        {"space": "unknown"}, {"model": "second"}, ("unknown", SCORES, ["score_space_differs"]),
    ),
    "a fallback where nothing is known of the first": (
        {"space": "logit", "first": "unknown"}, {"model": "second"}, ("logit", SCORES, []),
    ),
    "nor is it cut by a threshold": (
        {"space": "logit", "first": "unknown"}, {"model": "second", "min_score": 0.5},
        ("logit", SCORES, ["min_score_not_applied"]),
    ),
    "nothing is known of either": (
        {"space": "unknown", "first": "unknown"}, {"model": "second"}, ("unknown", SCORES, []),
    ),
    "the first one's provider is not configured": (
        {"space": "logit"}, {"model": "absent/m", "fallbacks": ["up/m"]}, ("logit", SCORES, []),
    ),
    "a threshold does not cut another kind": (
        {"space": "logit"}, {"model": "second", "min_score": 0.5},
        ("logit", SCORES, ["score_space_differs", "min_score_not_applied"]),
    ),
    "a threshold cuts a fallback of the same kind": (
        {"space": "probability"}, {"model": "second", "min_score": 0.5}, ("probability", UNITS[:1], []),
    ),
    "probabilities are one kind": (
        {"space": "logit"}, {"model": "second", "scores": "probability", "min_score": 0.4},
        ("probability", SIGMOIDS[:2], []),
    ),
    "a passthrough has no scores": ({"space": "logit"}, {"model": "last"}, ("unknown", [0, 0, 0], ["no_scores"])),
    "nor any to cut by": (
        {"space": "logit"}, {"model": "last", "scores": "probability", "min_score": 0.5},
        ("unknown", [0, 0, 0], ["no_scores"]),
    ),
    "what the configuration sets": ({"space": "logit"}, {"model": "set"}, ("probability", SIGMOIDS[:2], [])),
    "the request's own threshold comes first": (
        {"space": "logit"}, {"model": "set", "min_score": 0.0}, ("probability", SIGMOIDS, []),
    ),
    "the request's own kind comes first, and the threshold was for the other": (
        {"space": "logit"}, {"model": "set", "scores": "provider"}, ("logit", SCORES, []),
    ),
    "the same kind once more": (
        {"space": "logit"}, {"model": "set", "scores": "probability"}, ("probability", SIGMOIDS[:2], []),
    ),
    "what is set for a name is for that name": ({"space": "logit"}, {"model": "up/m"}, ("logit", SCORES, [])),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_scores_are_what_was_asked_for_or_say_why_not(
    opened: Open, answering: Callable[..., dict[str, Any]], case: str
) -> None:
    tree, fields, (space, expected, codes) = CASES[case]
    answer = await ask(await opened(answering(**tree)), **fields)
    assert answer["extra_fields"]["score_space"] == space
    assert scores(answer) == pytest.approx(expected)
    assert warnings(answer) == codes
    assert [row["index"] for row in answer["results"]] == list(range(len(expected)))


@pytest.mark.parametrize(
    ("space", "known"),
    [("logit", "these scores are of the kind logit"), ("unknown", "nothing is known of these scores")],
)
async def test_the_mark_of_a_fallback_says_what_is_known(
    opened: Open, answering: Callable[..., dict[str, Any]], space: str, known: str
) -> None:
    answer = await ask(await opened(answering(space)), "second")
    (warning,) = answer["extra_fields"]["warnings"]
    assert warning["message"].startswith(f"{known}, and this model's first target is known for the kind probability:")


async def test_a_passthrough_keeps_its_marks(opened: Open, answering: Callable[..., dict[str, Any]]) -> None:
    client = await opened(answering("logit"))
    answer = await client.post("/v1/rerank", json={"model": "last", "query": "q", "documents": ["a"], "min_score": 0.5})
    assert answer.headers["x-gateway-degraded"] == "true"
    assert answer.json()["extra_fields"]["degraded"] is True
    assert len(answer.json()["results"]) == 1


async def test_a_score_request_is_answered_for_every_pair(
    opened: Open, upstream: ScriptedUpstream, answering: Callable[..., dict[str, Any]]
) -> None:
    tree = answering("logit")
    upstream.reply_with(200, {"data": [{"index": 0, "score": -3.0}, {"index": 1, "score": 3.0}]})
    client = await opened(tree)
    answer = await client.post("/vllm/v1/score", json={"model": "set", "text_1": "q", "text_2": ["a", "b"]})
    assert [row["score"] for row in answer.json()["data"]] == pytest.approx(
        [1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))]
    )


async def test_a_shadow_is_not_compared_with_nothing(
    opened: Open, answering: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    tree = answering("logit")
    tree["models"]["watched"] = {"target": "up/m", "shadow": {"target": "up/n"}}
    client = await opened(tree)
    assert scores(await ask(client, "watched", min_score=99)) == []
    assert scores(await ask(client, "watched", min_score=1)) == SCORES[:1]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown kind": ({"scores": "percent"}, "scores"),
    "a threshold that is no number": ({"min_score": "high"}, "min_score"),
    "not a number": ({"min_score": "nan"}, "min_score"),
    "endless": ({"min_score": "inf"}, "min_score"),
    "a list": ({"min_score": [0.5]}, "min_score"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wish_that_is_wrong_is_refused(
    opened: Open, answering: Callable[..., dict[str, Any]], case: str
) -> None:
    fields, word = WRONG[case]
    client = await opened(answering("logit"))
    answer = await client.post("/v1/rerank", json={"model": "best", "query": "q", "documents": ["a"], **fields})
    assert answer.status_code == 400
    assert word in answer.json()["message"]


async def test_models_tell_what_their_scores_are(opened: Open, answering: Callable[..., dict[str, Any]]) -> None:
    listed = (await (await opened(answering("cosine"))).get("/v1/models")).json()["data"]
    assert {row["id"]: row["score_space"] for row in listed} == {
        "best": "cosine", "second": "probability", "last": "probability", "set": "cosine",
    }  # fmt: skip


RAW = {"raw_scores": True}
SPACES: dict[str, tuple[TargetFacts, str, dict[str, Any], str]] = {
    "as declared": (TargetFacts("probability"), "unknown", {}, "probability"),
    "as the backend says": (TargetFacts("probability"), "logit", {}, "logit"),
    "as the operator says": (TargetFacts("probability", "cosine"), "logit", {}, "cosine"),
    "unknown": (TargetFacts(), "unknown", {}, "unknown"),
    "raw": (TargetFacts("probability", logits_by=RAW), "unknown", {"raw_scores": True}, "logit"),
    "raw by the operator's word": (
        TargetFacts("unknown", "calibrated", logits_by=RAW), "unknown", {"raw_scores": True}, "logit",
    ),
    "raw of a cosine": (TargetFacts("cosine", logits_by=RAW), "unknown", RAW, "cosine"),
    "a field of another adapter": (TargetFacts("probability"), "unknown", {"raw_scores": True}, "probability"),
    "not raw": (TargetFacts("probability", logits_by=RAW), "unknown", {"raw_scores": False}, "probability"),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "said", "extra", "space"), SPACES.values(), ids=SPACES)
def test_what_an_answers_scores_are(facts: TargetFacts, said: Any, extra: dict[str, Any], space: str) -> None:
    request = RerankRequest(model="m", query="q", documents=["a"], extra=extra)
    assert facts.score_space(Ranking(results=[Ranked(0, 0.5)], score_space=said), request) == space


CALIBRATIONS = [
    {"platt": {"slope": 0.01, "intercept": 5}},
    {"platt": {"slope": 1e6, "intercept": -1e6}},
    STEPS,
    {"isotonic": [[0.5, 0.5]]},
    {"isotonic": [[0, 0.2], [0, 0.3], [0, 0.3]]},
    None,
]
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(
    given_scores=st.lists(FLOATS, min_size=1, max_size=20),
    calibration=st.sampled_from(CALIBRATIONS),
    least=st.none() | st.floats(0, 1),
    data=st.data(),
)
def test_probabilities_keep_the_order_and_come_from_one_document_alone(
    given_scores: list[float], calibration: dict[str, Any] | None, least: float | None, data: Any
) -> None:
    """Whatever the scores: from 0 to 1, never falling, the same in any company, and cut exactly at the threshold."""
    tree = {"providers": {"up": {"adapter": "vllm", "base_url": "http://localhost:1"}}, "auth": "none"}
    config = from_tree({**tree, "calibrations": {"up/m": calibration} if calibration else {}})
    contract = ScoreContract(config, lambda path: "logit")

    def fulfil(chosen: list[float], least: float | None) -> list[Ranked]:
        ordered = sorted(chosen, reverse=True)
        ranking = Ranking(
            results=[Ranked(n, score) for n, score in enumerate(ordered)], provider="up", model="m", score_space="logit"
        )
        asked = RerankRequest(model="up/m", query="q", documents=["d"], scores="probability", min_score=least)
        return contract.fulfil(ranking, asked).results

    whole = fulfil(given_scores, None)
    values = [row.relevance_score for row in whole]
    assert all(0 <= value <= 1 for value in values)
    assert values == sorted(values, reverse=True)
    assert [row.index for row in whole] == list(range(len(given_scores)))
    some = data.draw(st.lists(st.sampled_from(given_scores), min_size=1, max_size=5))
    alone = [fulfil([score], None)[0].relevance_score for score in sorted(some, reverse=True)]
    assert [row.relevance_score for row in fulfil(some, None)] == alone
    assert fulfil(given_scores, least) == [row for row in whole if least is None or row.relevance_score >= least]


BAD_CALIBRATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"up/m": {}}, "set either platt or isotonic"),
    "both": ({"up/m": {**PLATT, **STEPS}}, "set either platt or isotonic"),
    "a slope that turns the order": ({"up/m": {"platt": {"slope": -1, "intercept": 0}}}, "slope"),
    "a slope of 0": ({"up/m": {"platt": {"slope": 0, "intercept": 0}}}, "slope"),
    "no number": ({"up/m": {"platt": {"slope": float("nan"), "intercept": 0}}}, "slope"),
    "steps out of order": ({"up/m": {"isotonic": [[1, 0.1], [0, 0.2]]}}, "order"),
    "probabilities that fall": ({"up/m": {"isotonic": [[0, 0.2], [1, 0.1]]}}, "never fall"),
    "more than certain": ({"up/m": {"isotonic": [[0, 1.2]]}}, "isotonic"),
    "half a step": ({"up/m": {"isotonic": [[0]]}}, "isotonic"),
    "an unknown provider": ({"upp/m": PLATT}, "unknown provider"),
    "no model": ({"up": PLATT}, "provider/model"),
}


@pytest.mark.parametrize(("calibrations", "words"), BAD_CALIBRATIONS.values(), ids=BAD_CALIBRATIONS)
def test_a_calibration_that_cannot_be_is_told(calibrations: dict[str, Any], words: str) -> None:
    tree = {"providers": {"up": {"adapter": "vllm", "base_url": "http://localhost:1"}}, "auth": "none"}
    with pytest.raises(Exception, match=words) as told:
        from_tree({**tree, "calibrations": calibrations})
    assert "calibrations" in str(told.value)
