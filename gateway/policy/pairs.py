"""Score (query, document) pairs on a backend that takes one query per request: one request per distinct query."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec.structs import replace

from gateway.policy.merging import first_error, sum_usages
from gateway.policy.wrapper import Wrapper
from providers.types import Ranked, Ranking, RerankRequest, TextOrParts

MAX_CONCURRENT_GROUPS = 8
"""Requests at a time: enough to fill the local engine's batches, too few for one caller to fill its queue."""


class PairwiseFanOut(Wrapper):
    """Splits requests with several queries into one request for each query. All others pass unchanged."""

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The scores of all pairs as one ranking. Raises RerankError: the first error of any of the requests."""
        if request.queries is None or len(request.queries) == 1:
            return await self.backend.rerank(request)
        groups = _group_by_query(request.queries)
        gate = asyncio.Semaphore(MAX_CONCURRENT_GROUPS)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._score(request, indices, gate)) for indices in groups]
        except ExceptionGroup as errors:
            raise first_error(errors) from None
        return _merge(groups, [task.result() for task in running])

    async def _score(self, request: RerankRequest, indices: list[int], gate: asyncio.Semaphore) -> Ranking:
        assert request.queries is not None  # noqa: S101  # checked by the caller
        query = request.queries[indices[0]]
        documents = [request.documents[index] for index in indices]
        async with gate:
            return await self.backend.rerank(replace(request, query=query, queries=[query], documents=documents))


def _group_by_query(queries: list[TextOrParts]) -> list[list[int]]:
    """The positions of the pairs, grouped by query."""
    groups: dict[TextOrParts | bytes, list[int]] = {}
    for index, query in enumerate(queries):
        key = query if isinstance(query, str) else msgspec.json.encode(query)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _merge(groups: list[list[int]], rankings: list[Ranking]) -> Ranking:
    results = [
        Ranked(indices[result.index], result.relevance_score)
        for indices, ranking in zip(groups, rankings, strict=True)
        for result in ranking.results
    ]
    return Ranking(
        results=results,
        usage=sum_usages([ranking.usage for ranking in rankings]),
        score_space=rankings[0].score_space,
        warnings=tuple(dict.fromkeys(warning for ranking in rankings for warning in ranking.warnings)),
    )
