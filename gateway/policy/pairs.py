"""Score pairs on a backend that takes one query at a time: one request for each distinct query, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from gateway.policy.wrapper import Wrapper
from providers.types import Ranked, Ranking, RerankRequest, TextOrParts, Usage

MAX_CONCURRENT_GROUPS = 8
"""Requests at once: enough to fill the local engine's batches, too few to fill its queue alone."""


class PairwiseFanOut(Wrapper):
    """A backend that also takes pairwise requests. All others pass unchanged."""

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank, or score every pair. Raises RerankError: the first that any query met."""
        if request.queries is None or len(request.queries) == 1:
            return await self.backend.rerank(request)
        groups = _groups(request.queries)
        gate = asyncio.Semaphore(MAX_CONCURRENT_GROUPS)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._scored(request, indices, gate)) for indices in groups]
        except ExceptionGroup as errors:
            raise _first(errors) from None
        return _merged(groups, [task.result() for task in running])

    async def _scored(self, request: RerankRequest, indices: list[int], gate: asyncio.Semaphore) -> Ranking:
        assert request.queries is not None  # noqa: S101  # checked by the caller
        query = request.queries[indices[0]]
        documents = [request.documents[index] for index in indices]
        async with gate:
            return await self.backend.rerank(replace(request, query=query, queries=[query], documents=documents))


def _groups(queries: list[TextOrParts]) -> list[list[int]]:
    """The pairs' positions by query."""
    groups: dict[TextOrParts | bytes, list[int]] = {}
    for index, query in enumerate(queries):
        key = query if isinstance(query, str) else msgspec.json.encode(query)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _merged(groups: list[list[int]], rankings: list[Ranking]) -> Ranking:
    results = [
        Ranked(indices[result.index], result.relevance_score)
        for indices, ranking in zip(groups, rankings, strict=True)
        for result in ranking.results
    ]
    return Ranking(results=results, usage=_sum([ranking.usage for ranking in rankings]))


def _sum(usages: list[Usage | None]) -> Usage | None:
    """All counts together; what one of them does not know is not known of the sum."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < len(usages):
        return None
    return Usage(
        **{name: _total(getattr(usage, name) for usage in known) for name in Usage.__struct_fields__}  # type: ignore[arg-type]  # ints and floats alike
    )


def _total(counts: Iterable[float | None]) -> float | None:
    values = list(counts)
    return sum(value for value in values if value is not None) if None not in values else None


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
