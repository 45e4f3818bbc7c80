"""Pairwise requests on a backend that takes one query at a time."""

from __future__ import annotations

import asyncio

import pytest

from gateway.policy.pairs import MAX_CONCURRENT_GROUPS, PairwiseFanOut
from providers.errors import Overloaded
from providers.types import ContentParts, Ranked, Ranking, RerankRequest, Usage


class Lengths:
    """Scores a document by its length and the query's; knows how many it was asked at once."""

    def __init__(self, usage: Usage | None = None) -> None:
        self.asked: list[RerankRequest] = []
        self.usage = usage
        self.running = self.most = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if request.query == "refuse":
            raise Overloaded("full")
        scores = [10.0 * len(str(request.query)) + len(str(document)) for document in request.documents]
        return Ranking(results=[Ranked(index, score) for index, score in enumerate(scores)][::-1], usage=self.usage)

    async def ready(self) -> bool:
        return True


def pairs(*both: tuple[str, str]) -> RerankRequest:
    queries, documents = [query for query, _ in both], [document for _, document in both]
    return RerankRequest(model="m", query=queries[0], queries=queries, documents=documents)  # type: ignore[arg-type]


CASES = {
    "all different": ([("q", "a"), ("qq", "bb"), ("qqq", "c")], [11.0, 22.0, 31.0], [1, 1, 1]),
    "some the same": ([("q", "a"), ("qq", "bb"), ("q", "ccc")], [11.0, 22.0, 13.0], [2, 1]),
    "all the same": ([("q", "a"), ("q", "bb")], [11.0, 12.0], [2]),
}


@pytest.mark.parametrize(("both", "scores", "sizes"), CASES.values(), ids=CASES)
async def test_every_pair_has_its_score_with_one_request_a_query(both, scores, sizes) -> None:
    backend = Lengths()
    ranking = await PairwiseFanOut(backend).rerank(pairs(*both))
    assert {row.index: row.relevance_score for row in ranking.results} == dict(enumerate(scores))
    assert [len(request.documents) for request in backend.asked] == sizes


@pytest.mark.parametrize("queries", [None, ["q"]], ids=["a ranking", "one query"])
async def test_what_needs_no_pairing_passes_unchanged(queries) -> None:
    backend = Lengths()
    request = RerankRequest(model="m", query="q", documents=["a", "b"], queries=queries)
    await PairwiseFanOut(backend).rerank(request)
    assert backend.asked[0] is request


async def test_content_parts_are_grouped_by_what_they_hold() -> None:
    backend = Lengths()
    queries = [ContentParts([{"text": "a"}]), ContentParts([{"text": "a"}]), ContentParts([{"text": "b"}])]
    request = RerankRequest(model="m", query=queries[0], queries=list(queries), documents=["a", "b", "c"])
    await PairwiseFanOut(backend).rerank(request)
    assert [len(asked.documents) for asked in backend.asked] == [2, 1]


async def test_no_more_at_once_than_leave_room_for_others() -> None:
    backend = Lengths()
    await PairwiseFanOut(backend).rerank(pairs(*((f"{number}", "a") for number in range(5 * MAX_CONCURRENT_GROUPS))))
    assert backend.most == MAX_CONCURRENT_GROUPS


async def test_one_that_fails_fails_all_with_its_own_error() -> None:
    with pytest.raises(Overloaded, match="full"):
        await PairwiseFanOut(Lengths()).rerank(pairs(("q", "a"), ("refuse", "b"), ("r", "c")))


USAGES = {
    "counted": (Usage(prompt_tokens=3, total_tokens=4), Usage(prompt_tokens=6, total_tokens=8)),
    "not counted": (None, None),
}


@pytest.mark.parametrize(("each", "together"), USAGES.values(), ids=USAGES)
async def test_counts_are_added(each, together) -> None:
    ranking = await PairwiseFanOut(Lengths(each)).rerank(pairs(("q", "a"), ("r", "b")))
    assert ranking.usage == together
