"""The backend over one loaded model: admits a request, tokenises it, waits for its rows, and makes the ranking."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from providers.errors import InvalidRequest, NotReady, Overloaded, RerankError, TargetFailed, TargetTimeout, Unsupported
from providers.local.batcher import DEVICE_FAILS, Batcher
from providers.local.evidence import MAX_DOCUMENTS, Passages, find_passages, read_to
from providers.local.queue import FairQueue, Job
from providers.local.tokens import EncodedRequest, LongDocuments
from providers.local.vector_cache import VectorCache
from providers.types import (
    INSTRUCTION_IGNORED,
    AnswerWarning,
    EngineStats,
    Ranked,
    Ranking,
    RerankRequest,
    ScoreSpace,
    Usage,
)

TOKENIZER_THREADS = 2
"""A second thread, so that a small request need not wait while a huge one is tokenised."""

CHARACTERS_PER_TOKEN = 4
"""For the estimate of a request's tokens until it is tokenised. Only the queue's limit depends on it."""

MAX_ROWS_ON_LOOP = 256
"""Rows, or documents with cached vectors, that become scores on the event loop: about a millisecond of cosines."""

LOWEST_PRIORITY = 999

NO_ROOM_FOR_SPANS = AnswerWarning("spans_unavailable", "the local model's queue has no room for finding spans")
FEWER_SPANS = AnswerWarning(
    "spans_unavailable", f"only the first {MAX_DOCUMENTS} results have spans; ask for fewer results with top_n"
)


class TextRequest(Struct, frozen=True):
    """What a model must know of one request.

    Attributes:
        max_tokens_per_doc: tokens at which each document is cut; None leaves that to the model's window.
        instruction: replaces the prompt of a templated model; None keeps the model's own.
        priority: 0 to LOWEST_PRIORITY; the lower it is, the larger the request's share of the model.
        raw_scores: whether a cross-encoder's logits are wanted without its activation.
    """

    query: str
    documents: list[str]
    max_tokens_per_doc: int | None
    instruction: str | None
    priority: int
    raw_scores: bool = False

    def tokens_per_document(self, window: int, long_documents: LongDocuments) -> int | None:
        """How many tokens are read of each document at most; None is all of it."""
        if long_documents == "chunk_max":
            return self.max_tokens_per_doc
        return window if self.max_tokens_per_doc is None else min(window, self.max_tokens_per_doc)

    def estimate_tokens(self, window: int, long_documents: LongDocuments) -> int:
        """About how many tokens will be fed to a model that reads `window` tokens at once. Cheap.

        A document that is read in windows counts whole, and in each of them the query again.
        """
        limit = self.tokens_per_document(window, long_documents)
        query = min(len(self.query) // CHARACTERS_PER_TOKEN, window - 1)
        room = window - query
        most = (math.inf if limit is None else limit) if long_documents == "chunk_max" else min(limit or room, room)
        longest = most * CHARACTERS_PER_TOKEN
        sizes = [size if size < longest else longest for size in map(len, self.documents)]
        windows = len(sizes)
        if long_documents == "chunk_max":
            windows = sum(max(1, math.ceil(size / CHARACTERS_PER_TOKEN / room)) for size in sizes)
        return int(sum(sizes)) // CHARACTERS_PER_TOKEN + query * windows


class Scorer(Protocol):
    """What the engine needs of a loaded model beside the forward pass.

    Attributes:
        window: how many tokens the model reads at once.
        long_documents: what becomes of a document longer than that.
        score_space: what its scores are, with its activation and its lexical term.
        takes_instruction: whether its prompt has a place for one.
    """

    window: int
    long_documents: LongDocuments
    score_space: ScoreSpace
    takes_instruction: bool

    @property
    def cache(self) -> VectorCache | None:
        """The vectors of texts seen before; None for a model without vectors."""
        ...

    def encode(self, request: TextRequest, check: Callable[[], None]) -> EncodedRequest:
        """Tokenise, and call `check` now and then, which raises when the request is over.

        Blocks; called by several threads at once. Raises RerankError.
        """
        ...

    def scores(self, rows: list[Any], encoded: EncodedRequest) -> list[float]:
        """One score for each document, in their order, from the model's rows."""
        ...

    def release(self) -> None:
        """Free the memory of the model, which is not used any more. Blocks."""
        ...


class Engine:
    """A `Backend` over one loaded model.

    Args:
        queue, batcher: the model's own. The batcher is started already, and closed by `aclose`.
        max_queued_tokens: tokens that may wait. A request alone is admitted however large it is.
    """

    def __init__(self, model: Scorer, queue: FairQueue, batcher: Batcher, *, max_queued_tokens: int) -> None:
        self._model, self._queue, self._batcher = model, queue, batcher
        self._max_queued_tokens = max_queued_tokens
        self._pool = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="rerank-tokenise")
        self._estimated_tokens = 0

    async def rerank(self, request: RerankRequest) -> Ranking:
        text, left = _text_request(request), _seconds_left(request)
        is_ignored = text.instruction is not None and not self._model.takes_instruction
        if is_ignored:
            text = replace(text, instruction=None)
        size = text.estimate_tokens(self._model.window, self._model.long_documents)
        self._admit(size)
        try:
            async with asyncio.timeout(left):
                ranking = await self._rank(text, size)
                if request.return_spans and request.queries is None:
                    ranking = await self._add_spans(ranking, text, request.top_n)
        except TimeoutError:
            raise TargetTimeout("the local model did not finish in the time allowed") from None
        return replace(ranking, warnings=(INSTRUCTION_IGNORED, *ranking.warnings)) if is_ignored else ranking

    async def ready(self) -> bool:
        return self._batcher.alive and self._batcher.healthy

    @property
    def score_space(self) -> ScoreSpace:
        """What the scores of a request without wishes are."""
        return self._model.score_space

    def stats(self) -> EngineStats:
        """How many tokens wait, and what was computed since the start."""
        stats, cache = self._batcher.stats, self._model.cache
        return EngineStats(
            queued_tokens=self._waiting_tokens(),
            batches=stats.batches,
            texts=stats.texts,
            tokens=stats.tokens,
            padding=stats.padding,
            window=self._model.window,
            tokens_per_second=stats.tokens_per_second,
            busy_seconds=self._batcher.busy_seconds,
            vector_hits=cache.hits if cache else 0,
            vector_misses=cache.misses if cache else 0,
            vector_bytes=cache.bytes if cache else 0,
        )

    async def aclose(self) -> None:
        await asyncio.to_thread(self._close_and_release)
        # Requests that wait for a thread still get one, which raises NotReady. Cancelled, they would never be answered.
        self._pool.shutdown(wait=False)

    def _close_and_release(self) -> None:
        self._batcher.close()
        self._model.release()

    def _waiting_tokens(self) -> int:
        """Tokens in the queue, and by estimate those of the requests that are being tokenised for it."""
        return self._queue.tokens + self._estimated_tokens

    def _admit(self, size: int) -> None:
        """Raises Overloaded if so many tokens would not fit into the queue."""
        self._check_serves()
        waiting = self._waiting_tokens()
        # A request larger than the whole queue is admitted when nothing waits: else it never would be.
        if waiting and waiting + size > self._max_queued_tokens:
            raise self._overloaded(waiting)

    def _overloaded(self, waiting: int) -> Overloaded:
        speed = self._batcher.stats.tokens_per_second
        seconds = math.ceil(waiting / speed) if speed else 1
        return Overloaded("the local model's queue is full; try again later", retry_after=float(max(1, seconds)))

    def _check_serves(self) -> None:
        if not self._batcher.alive:
            raise NotReady("the local model is closed")
        if not self._batcher.healthy:
            raise NotReady(DEVICE_FAILS)

    async def _rank(self, text: TextRequest, size: int) -> Ranking:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        job = Job(lambda _, error: _resolve_from_thread(loop, done, error))
        try:
            encoded, tokenize_seconds = await self._encode_and_queue(text, size, job)
            if encoded.inputs:
                await done
        except asyncio.CancelledError:
            self._queue.cancel(job)
            raise
        space = self._model.score_space
        if encoded.raw_scores and space == "probability":
            space = "logit"
        return _ranking(job, encoded, tokenize_seconds, await self._scores(job, encoded), space)

    async def _add_spans(self, ranking: Ranking, text: TextRequest, top_n: int | None) -> Ranking:
        """The ranking with the best passage of each document that is returned, by a second pass over their passages.

        Where the queue has no room for that, it is the ranking as it was, with a warning.
        """
        start = time.monotonic()
        results = sorted(ranking.results, key=lambda row: (-row.relevance_score, row.index))[:top_n]
        loop = asyncio.get_running_loop()
        passages = await loop.run_in_executor(self._pool, self._find_passages, results, text, ranking)
        scores: list[float] = []
        usage = ranking.usage
        if passages.texts:
            second = replace(text, documents=passages.texts, max_tokens_per_doc=None)
            size = second.estimate_tokens(self._model.window, self._model.long_documents)
            try:
                self._admit(size)
                scored = await self._rank(second, size)
            except Overloaded:
                return replace(ranking, warnings=(*ranking.warnings, NO_ROOM_FOR_SPANS))
            scores, usage = [row.relevance_score for row in scored.results], _sum(usage, scored.usage)
        warnings = (*ranking.warnings, FEWER_SPANS) if len(results) > MAX_DOCUMENTS else ranking.warnings
        details = {**(ranking.details or {}), "spans_ms": _milliseconds(time.monotonic() - start)}
        return replace(ranking, spans=passages.spans(scores), usage=usage, details=details, warnings=warnings)

    def _find_passages(self, results: list[Ranked], text: TextRequest, ranking: Ranking) -> Passages:
        """Within what the model has read of each document. Blocks."""
        was_cut = bool((ranking.details or {}).get("truncated_documents"))

        def is_read_whole(document: str) -> bool:
            return self._model.encode(replace(text, documents=[document]), self._check_serves).truncated == {}

        def read(document: str) -> int:
            return read_to(document, is_read_whole) if was_cut else len(document)

        return find_passages(results, text.documents, read)

    async def _scores(self, job: Job, encoded: EncodedRequest) -> list[float]:
        # Comparing ten thousand vectors would hold the event loop for too long.
        if max(len(job.rows), len(encoded.document_inputs)) <= MAX_ROWS_ON_LOOP:
            return self._model.scores(job.rows, encoded)
        return await asyncio.to_thread(self._model.scores, job.rows, encoded)

    async def _encode_and_queue(self, text: TextRequest, size: int, job: Job) -> tuple[EncodedRequest, float]:
        """Tokenise and queue in a thread. Until that is done, the request counts by its estimated size."""
        self._estimated_tokens += size
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._encode_in_thread, text, job)
        finally:
            self._estimated_tokens -= size

    def _encode_in_thread(self, text: TextRequest, job: Job) -> tuple[EncodedRequest, float]:
        """Returns the encoded request, which is queued, and the seconds that encoding took."""

        def check() -> None:
            self._check_serves()
            if job.cancelled:
                raise NotReady("nobody waits for this request any more")

        check()
        start = time.monotonic()
        try:
            encoded = self._model.encode(text, check)
        except RerankError:
            raise
        except Exception as error:
            # A model that was released meanwhile fails in any way.
            self._check_serves()
            # The message of a foreign exception may quote a text, so callers get its type only.
            raise TargetFailed(f"the local model could not tokenise the texts: {type(error).__name__}") from error
        seconds = time.monotonic() - start
        # The estimate let it in; what counts in the end is its real size.
        if encoded.inputs and not self._queue.append(job, encoded.inputs, text.priority, self._max_queued_tokens):
            raise self._overloaded(self._queue.tokens)
        return encoded, seconds


def _resolve_from_thread(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], error: RerankError | None
) -> None:
    """Wake the waiting request from the engine's thread."""
    try:
        loop.call_soon_threadsafe(_resolve, done, error)
    except RuntimeError:
        # The loop is closed, and with it whoever waited.
        return


def _resolve(done: asyncio.Future[None], error: RerankError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _truncated(encoded: EncodedRequest) -> list[dict[str, int]]:
    return [{"index": index, "kept_tokens": tokens} for index, tokens in encoded.truncated.items()]


def _ranking(
    job: Job, encoded: EncodedRequest, tokenize_seconds: float, scores: list[float], space: ScoreSpace
) -> Ranking:
    tokens = job.tokens + encoded.cached_tokens
    return Ranking(
        results=[Ranked(index, score) for index, score in enumerate(scores)],
        usage=Usage(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens),
        details={
            "tokenize_ms": _milliseconds(tokenize_seconds),
            "queue_ms": _milliseconds(job.queue_seconds),
            "compute_ms": _milliseconds(job.compute_seconds),
            "truncated_documents": len(encoded.truncated),
            **({"truncated": _truncated(encoded)} if encoded.truncated else {}),
            **encoded.details,
        },
        score_space=space,
    )


def _text_request(request: RerankRequest) -> TextRequest:
    """Raises Unsupported or InvalidRequest for what no local model can rank."""
    texts = [text for text in (request.query, *request.documents) if isinstance(text, str)]
    if len(texts) <= len(request.documents):
        raise Unsupported("the local model reads text only: send the query and every document as a string")
    limit = request.max_tokens_per_doc
    if limit is not None and limit < 1:
        raise InvalidRequest("max_tokens_per_doc must be at least 1")
    activation = request.extra.get("use_activation")
    if activation not in (None, True, False):
        raise Unsupported("`use_activation` must be true or false")
    priority = min(max(request.priority or 0, 0), LOWEST_PRIORITY)
    return TextRequest(
        texts[0], texts[1:], limit, request.instruction or None, priority, raw_scores=activation is False
    )


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    """Of two passes of one request."""
    if one is None or other is None:
        return one
    tokens = (one.prompt_tokens or 0) + (other.prompt_tokens or 0)
    return replace(one, prompt_tokens=tokens, total_tokens=tokens)


def _seconds_left(request: RerankRequest) -> float | None:
    """Seconds to the request's deadline; None without one. Raises TargetTimeout if it has passed."""
    if request.call.deadline is None:
        return None
    left = request.call.deadline - time.monotonic()
    if left <= 0:
        raise TargetTimeout("the time allowed was over before the local model was asked")
    return left


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
