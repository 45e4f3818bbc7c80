"""Many documents in bounded requests: how they are split, and that the merged answer is that of a single request."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from gateway.api.dialects.unified.request import Body
from gateway.cli import batches
from gateway.cli.asker import Reply
from gateway.cli.batches import ask_in_parts, batch_size, merge, split
from gateway.routing.facts import ModelFacts
from providers.errors import InvalidRequest, TargetFailed

SIZES: dict[str, tuple[ModelFacts, int | None, int | None]] = {
    "pointwise": (ModelFacts("pointwise"), None, 256),
    "a model that takes few": (ModelFacts("pointwise", 32), None, 32),
    "a model that takes many": (ModelFacts("pointwise", 10_000), None, 256),
    "the user's number": (ModelFacts("pointwise", 32), 500, 500),
    "unknown": (ModelFacts(), None, None),
    "unknown, but the user says so": (ModelFacts(), 100, 100),
    "listwise": (ModelFacts("listwise"), None, None),
}


@pytest.mark.parametrize(("facts", "chosen", "size"), SIZES.values(), ids=SIZES)
def test_only_what_may_be_split_is(facts: ModelFacts, chosen: int | None, size: int | None) -> None:
    assert batch_size(facts, chosen) == size


def test_a_listwise_model_cannot_be_split_on_demand() -> None:
    with pytest.raises(InvalidRequest, match="listwise"):
        batch_size(ModelFacts("listwise"), 10)


PARTS: dict[str, tuple[list[Any], int, list[int]]] = {
    "even": (["a"] * 6, 3, [3, 3]),
    "a rest": (["a"] * 7, 3, [3, 3, 1]),
    "one": (["a"], 3, [1]),
    "none": ([], 3, []),
    "by bytes": (["a" * 38] * 5, 100, [2, 2, 1]),
    "by bytes of what is not ASCII": (["日" * 13] * 3, 100, [2, 1]),
    "a large document alone": (["a", "b" * 500, "c"], 100, [1, 1, 1]),
    "objects": ([{"text": "a" * 25}] * 3, 100, [2, 1]),
}


@pytest.mark.parametrize(("documents", "size", "lengths"), PARTS.values(), ids=PARTS)
def test_parts_are_bounded_in_number_and_bytes(
    documents: list[Any], size: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_BATCH_BYTES", 100)
    parts = list(split(documents, size))
    assert [len(part) for part in parts] == lengths
    assert [document for part in parts for document in part] == documents


class Scorer:
    """Scores each document by its length. Served by the models in turn."""

    def __init__(self, *models: str, resolved: bool = False) -> None:
        self.requests: list[Body] = []
        self._models = models
        self._resolved = resolved

    async def ask(self, body: Body) -> Reply:
        self.requests.append(body)
        served = self._models[(len(self.requests) - 1) % len(self._models)]
        documents = body.documents or []
        ranked = sorted(enumerate(documents), key=lambda each: (-len(str(each[1])), each[0]))[: body.top_n]
        extra = {"provider": "p", "latency": 5, "cost": 0.5, "degraded": True}
        return {
            "id": str(len(self.requests)),
            "model": "alias" if self._resolved else served,
            "results": [{"index": index, "relevance_score": float(len(str(each)))} for index, each in ranked],
            "usage": {"total_tokens": len(documents)},
            "extra_fields": extra | ({"resolved_model_used": served} if self._resolved else {}),
        }

    async def find_model(self, name: str | None) -> tuple[str, ModelFacts]:
        raise NotImplementedError


DOCUMENTS: list[Any] = ["ccc", "a", "bb", "dddd", "eee", "f", "gg"]


@pytest.mark.parametrize("top_n", [None, 1, 4, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_the_merged_ranking_is_that_of_one_request(size: int, top_n: int | None) -> None:
    body = Body(model="m", query="q", documents=DOCUMENTS, top_n=top_n)
    whole = await Scorer("m").ask(body)
    done: list[int] = []
    merged = await ask_in_parts(Scorer("m"), body, size, done.append)
    assert merged["results"] == whole["results"]
    assert sum(done) == len(DOCUMENTS)
    assert max(done) <= size


async def test_what_the_parts_cost_is_summed() -> None:
    merged = await ask_in_parts(Scorer("m"), Body(model="m", query="q", documents=DOCUMENTS), 3, lambda count: None)
    assert merged["usage"] == {"total_tokens": 7}
    assert merged["extra_fields"] == {"provider": "p", "latency": 15, "cost": 1.5, "degraded": True}


def test_what_one_part_does_not_know_is_not_summed() -> None:
    known: Reply = {"results": [], "model": "m", "extra_fields": {"provider": "p", "cost": 1.0}}
    unknown: Reply = {"results": [], "model": "m", "extra_fields": {"provider": "p"}}
    for parts in ([known, unknown], [unknown, known]):
        assert "cost" not in merge([(0, part) for part in parts], None)["extra_fields"]


def test_all_attempts_are_kept() -> None:
    parts = [{"results": [], "model": "m", "extra_fields": {"attempts": [number]}} for number in range(3)]
    assert merge([(0, part) for part in parts], None)["extra_fields"]["attempts"] == [0, 1, 2]


@pytest.mark.parametrize("resolved", [False, True], ids=["of two names", "behind one alias"])
async def test_parts_of_two_models_are_not_merged(resolved: bool) -> None:
    asker = Scorer("m", "m", "other", resolved=resolved)
    with pytest.raises(TargetFailed, match="ranked by different models \\(p/m and p/other\\)"):
        await ask_in_parts(asker, Body(model="m", query="q", documents=DOCUMENTS), 2, lambda count: None)
    assert len(asker.requests) == 3


async def test_equal_scores_stay_in_the_order_given() -> None:
    merged = await ask_in_parts(Scorer("m"), Body(model="m", query="q", documents=["x"] * 5), 2, lambda count: None)
    assert all(first["index"] < second["index"] for first, second in pairwise(merged["results"]))
