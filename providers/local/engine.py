"""The backend: admits requests, tokenises in threads, waits for the batcher, and makes the ranking."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from providers.errors import NotReady, Overloaded, RerankError, TargetTimeout, Unsupported
from providers.local.batcher import Batcher, Job
from providers.local.tokens import Encoded
from providers.types import Ranked, Ranking, RerankRequest, Usage

TOKENISERS = 2
"""Threads that tokenise: a second, so that a small request need not wait for a huge one's texts."""

CHARACTERS_PER_TOKEN = 4


class Scorer(Protocol):
    """What the engine needs of a loaded model beside the forward pass."""

    def encode(self, query: str, documents: list[str], limit: int | None, instruction: str | None) -> Encoded: ...

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]: ...


class Engine:
    """A `Backend` over one loaded model."""

    def __init__(self, model: Scorer, batcher: Batcher) -> None:
        self._model, self._batcher = model, batcher
        self._pool = ThreadPoolExecutor(TOKENISERS, thread_name_prefix="rerank-tokenise")
        self._reserved = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        query, documents = _texts(request)
        left = _time_left(request)
        size = (len(query) * len(documents) + sum(map(len, documents))) // CHARACTERS_PER_TOKEN
        self._admit(size)
        self._reserved += size
        try:
            async with asyncio.timeout(left):
                return await self._ranked(request, query, documents)
        except TimeoutError:
            raise TargetTimeout("the local model did not finish in the time allowed") from None
        finally:
            self._reserved -= size

    async def ready(self) -> bool:
        return self._batcher.alive

    async def aclose(self) -> None:
        await asyncio.to_thread(self._batcher.close)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _admit(self, size: int) -> None:
        if not self._batcher.alive:
            raise NotReady("the local model is closed")
        waiting = self._batcher.queued + self._reserved
        if waiting and waiting + size > self._batcher.limit:
            seconds = max(1, math.ceil(waiting / self._batcher.speed)) if self._batcher.speed else 1
            raise Overloaded("the local model's queue is full; try again later", retry_after=float(seconds))

    async def _ranked(self, request: RerankRequest, query: str, documents: list[str]) -> Ranking:
        start = time.monotonic()
        loop = asyncio.get_running_loop()
        instruction = request.extra.get("instruction")
        encoded = await loop.run_in_executor(
            self._pool, self._model.encode, query, documents, request.max_tokens_per_doc, instruction
        )
        tokenised = time.monotonic()
        job = await self._scored(encoded, request.priority or 0)
        scores = self._model.scores(job.rows, encoded)
        return Ranking(
            results=[Ranked(index, score) for index, score in enumerate(scores)],
            usage=Usage(prompt_tokens=job.tokens, total_tokens=job.tokens),
            details={
                "tokenize_ms": _ms(tokenised - start),
                "queue_ms": _ms(job.waited),
                "compute_ms": _ms(job.compute),
                "truncated_documents": encoded.truncated,
            },
        )

    async def _scored(self, encoded: Encoded, priority: int) -> Job:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Job] = loop.create_future()

        def settle(job: Job, error: RerankError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(job)
            else:
                answer.set_exception(error)

        def done(job: Job, error: RerankError | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, job, error)

        job = self._batcher.submit(encoded.texts, priority, done)
        try:
            return await answer
        except asyncio.CancelledError:
            self._batcher.cancel(job)
            raise


def _texts(request: RerankRequest) -> tuple[str, list[str]]:
    texts = [text for text in (request.query, *request.documents) if isinstance(text, str)]
    if len(texts) <= len(request.documents):
        raise Unsupported("the local model reads text only: send the query and every document as a string")
    return texts[0], texts[1:]


def _time_left(request: RerankRequest) -> float | None:
    if request.call.deadline is None:
        return None
    left = request.call.deadline - time.monotonic()
    if left <= 0:
        raise TargetTimeout("the time allowed was over before the local model was asked")
    return left


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
