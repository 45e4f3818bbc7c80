"""The backend: admits a request, tokenises it in a thread, waits for the batcher, and makes the ranking."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from msgspec import Struct

from providers.errors import InvalidRequest, NotReady, Overloaded, RerankError, TargetFailed, TargetTimeout, Unsupported
from providers.local.batcher import Batcher, Job
from providers.local.tokens import Encoded
from providers.types import EngineStats, Ranked, Ranking, RerankRequest, Usage

TOKENISERS = 2
"""Threads that tokenise: a second, so that a small request need not wait for a huge one's texts."""

CHARACTERS_PER_TOKEN = 4
"""What a request is reckoned at until it is tokenised; only the queue's limit depends on it."""


ROWS_AT_ONCE = 256
"""Rows that become scores on the event loop: about a millisecond for an embedding model."""

LOWEST_PRIORITY = 999


class Work(Struct, frozen=True):
    """What the model must be told of one request; `raw` asks a cross-encoder for its logits without the activation."""

    query: str
    documents: list[str]
    limit: int | None
    instruction: str | None
    priority: int
    raw: bool = False

    def tokens(self, window: int) -> int:
        """A cheap estimate of the tokens to be fed."""
        characters = window * CHARACTERS_PER_TOKEN
        return sum(min(len(self.query) + len(text), characters) for text in self.documents) // CHARACTERS_PER_TOKEN


class Scorer(Protocol):
    """What the engine needs of a loaded model beside the forward pass."""

    window: int

    def encode(self, work: Work) -> Encoded:
        """Tokenise. Blocks; called by several threads at once. Raises RerankError."""
        ...

    def scores(self, rows: list[Any], encoded: Encoded) -> list[float]:
        """One score for each document from the model's rows."""
        ...


class Engine:
    """A `Backend` over one loaded model."""

    def __init__(self, model: Scorer, batcher: Batcher) -> None:
        self._model, self._batcher = model, batcher
        self._pool = ThreadPoolExecutor(TOKENISERS, thread_name_prefix="rerank-tokenise")
        self._reserved = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        work, left = _work(request), _time_left(request)
        self._admit(work.tokens(self._model.window))
        try:
            async with asyncio.timeout(left):
                return await self._ranked(work)
        except TimeoutError:
            raise TargetTimeout("the local model did not finish in the time allowed") from None

    async def ready(self) -> bool:
        return self._batcher.alive

    def load(self) -> EngineStats:
        """What waits, and what was computed since the start."""
        batcher = self._batcher
        return EngineStats(
            queued_tokens=batcher.queued + self._reserved,
            batches=batcher.batches,
            texts=batcher.texts,
            tokens=batcher.tokens,
            padding=batcher.padding,
            window=self._model.window,
        )

    async def aclose(self) -> None:
        await asyncio.to_thread(self._batcher.close)
        # What waits for a thread still gets one, to be told that the engine is closed; a cancellation tells nobody.
        self._pool.shutdown(wait=False)

    def _admit(self, size: int) -> None:
        """Raises Overloaded if the texts would not fit into the queue; a request alone is always admitted."""
        self._check_open()
        waiting = self._batcher.queued + self._reserved
        if waiting and waiting + size > self._batcher.limit:
            seconds = math.ceil(waiting / self._batcher.speed) if self._batcher.speed else 1
            raise Overloaded("the local model's queue is full; try again later", retry_after=float(max(1, seconds)))

    def _check_open(self) -> None:
        if not self._batcher.alive:
            raise NotReady("the local model is closed")

    async def _ranked(self, work: Work) -> Ranking:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        job = Job(lambda _, error: _tell(loop, answer, error))
        try:
            encoded, seconds = await self._queued(work, job)
            await answer
        except asyncio.CancelledError:
            self._batcher.cancel(job)
            raise
        return self._ranking(job, encoded, seconds, await self._scores(job, encoded))

    async def _scores(self, job: Job, encoded: Encoded) -> list[float]:
        """Of many rows in a thread: comparing ten thousand vectors takes longer than the event loop may stand still."""
        if len(job.rows) <= ROWS_AT_ONCE:
            return self._model.scores(job.rows, encoded)
        return await asyncio.to_thread(self._model.scores, job.rows, encoded)

    async def _queued(self, work: Work, job: Job) -> tuple[Encoded, float]:
        """Tokenise and submit in a thread; the texts count as queued from now on, by estimate at first."""
        size = work.tokens(self._model.window)
        self._reserved += size
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._submit, work, job)
        finally:
            self._reserved -= size

    def _submit(self, work: Work, job: Job) -> tuple[Encoded, float]:
        self._check_open()
        start = time.monotonic()
        try:
            encoded = self._model.encode(work)
        except RerankError:
            raise
        except Exception as error:
            raise TargetFailed(f"the local model could not tokenise the texts: {type(error).__name__}") from error
        seconds = time.monotonic() - start
        self._batcher.submit(job, encoded.texts, work.priority)
        return encoded, seconds

    def _ranking(self, job: Job, encoded: Encoded, seconds: float, scores: list[float]) -> Ranking:
        return Ranking(
            results=[Ranked(index, score) for index, score in enumerate(scores)],
            usage=Usage(prompt_tokens=job.tokens, completion_tokens=0, total_tokens=job.tokens),
            details={
                "tokenize_ms": _ms(seconds),
                "queue_ms": _ms(job.waited),
                "compute_ms": _ms(job.compute),
                "truncated_documents": encoded.truncated,
            },
        )


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[None], error: RerankError | None) -> None:
    """Wake the waiting request from the engine's thread; its loop may be gone."""
    try:
        loop.call_soon_threadsafe(_settle, answer, error)
    except RuntimeError:
        return


def _settle(answer: asyncio.Future[None], error: RerankError | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)


def _work(request: RerankRequest) -> Work:
    texts = [text for text in (request.query, *request.documents) if isinstance(text, str)]
    if len(texts) <= len(request.documents):
        raise Unsupported("the local model reads text only: send the query and every document as a string")
    instruction = request.extra.get("instruction")
    if instruction is not None and not isinstance(instruction, str):
        raise Unsupported("`instruction` must be a string")
    limit = request.max_tokens_per_doc
    if limit is not None and limit < 1:
        raise InvalidRequest("max_tokens_per_doc must be at least 1")
    active = request.extra.get("use_activation")
    if active not in (None, True, False):
        raise Unsupported("`use_activation` must be true or false")
    priority = min(max(request.priority or 0, 0), LOWEST_PRIORITY)
    return Work(texts[0], texts[1:], limit, instruction, priority, raw=active is False)


def _time_left(request: RerankRequest) -> float | None:
    if request.call.deadline is None:
        return None
    left = request.call.deadline - time.monotonic()
    if left <= 0:
        raise TargetTimeout("the time allowed was over before the local model was asked")
    return left


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
