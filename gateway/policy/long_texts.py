"""Documents and queries that are longer than a target reads: cut, ranked by their best window, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from gateway.blocking import POOL, check_cancelled
from gateway.policy.call_limits import CallLimits
from gateway.policy.target_id import TargetId
from gateway.policy.text_cuts import MAX_CHARACTERS_PER_TOKEN, Piece, cut, windows
from gateway.policy.verification import verify
from gateway.policy.wrapper import Wrapper
from providers.errors import LimitExceeded, TooLong
from providers.tokenization import TokenCounter, open_counter
from providers.types import SPANS_UNAVAILABLE, Backend, Ranked, Ranking, RerankRequest, Span, TextOrParts

LongDocuments = Literal["truncate", "chunk_max", "error"]

INLINE_CHARACTERS = 8 * 1024
"""Texts of so many characters together are cut at once, in a few milliseconds; longer ones by a thread."""

CHARACTERS_AROUND_DOCUMENT = 32
"""What looking at a document costs besides, in characters: ten thousand of one letter take long, too."""

MAX_WINDOWS_PER_DOCUMENT = 64
MAX_WINDOWS = 10_000
"""Windows of one request. What is beyond is not read, and told."""

RESERVE_SHARE, MAX_RESERVE = 16, 128
"""Part of a pair's tokens that is left to what models write around it: separators, or the prompt of a template."""


class TextSettings(Struct, frozen=True):
    """What is done about the long texts of one target.

    Attributes:
        long_documents: what happens to those over the target's limits; None leaves it to the target.
        tokenizer: a path or a name of the Hub; None if tokens are estimated.
        cuts_documents: whether `max_tokens_per_doc` is for the gateway to apply, since the provider does not.
    """

    long_documents: LongDocuments | None = None
    tokenizer: str | None = None
    cuts_documents: bool = False

    @property
    def matter(self) -> bool:
        """Whether there is ever anything to do."""
        return self.cuts_documents or self.long_documents is not None


NO_TEXT_SETTINGS = TextSettings()


class Bounds(Struct, frozen=True):
    """Tokens that a text may have; None is no bound.

    Attributes:
        asked: of each document, as the caller wants it.
        document, query: of each, as the target has it.
        pair: of a query and one document, without what the model writes around them.
    """

    asked: int | None = None
    document: int | None = None
    query: int | None = None
    pair: int | None = None

    @property
    def of_target(self) -> bool:
        """Whether one of them is the target's."""
        return (self.document, self.query, self.pair) != (None, None, None)

    @property
    def of_query(self) -> int | None:
        """Tokens of a query: no more than half a pair, so that there is room for a document."""
        return _least(self.query, None if self.pair is None else max(1, self.pair // 2))


class LongTexts(Wrapper):
    """Cuts what is too long for its target. Requests without such texts pass unchanged.

    Where no tokenizer is configured, the target's own limits are left to the target: what it refuses is cut. What the
    caller asks for, and windows, then go by an estimate that is never over the limit.

    Args:
        backend: the target.
        settings: its own.
        limits: of its calls.
        target: whose they are.
    """

    def __init__(self, backend: Backend, settings: TextSettings, limits: CallLimits, target: TargetId) -> None:
        super().__init__(backend)
        self._settings = settings
        self._limits = limits
        self._target = target
        self._counter = open_counter(settings.tokenizer)
        self._cuts = settings.cuts_documents
        mode = settings.long_documents
        self._foresees = mode is not None and (mode == "chunk_max" or settings.tokenizer is not None)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The target's ranking. Raises LimitExceeded for what must not be cut, else as the target."""
        try:
            if not self._foresees and (request.max_tokens_per_doc is None or not self._cuts):
                return await self.backend.rerank(request)
            if self._foresees and not self._limits.tell_of_texts:
                await self._limits.ask(request.call.deadline)
            return await self._rank_within(request, self._bounds(request))
        except TooLong as error:
            if self._settings.long_documents is not None:
                await self._limits.ask(request.call.deadline)
            bounds = self._bounds_told(request, error)
            if bounds is None:
                raise
        return await self._rank_within(request, bounds)

    async def _rank_within(self, request: RerankRequest, bounds: Bounds) -> Ranking:
        texts = await self._fit(request, bounds)
        return texts.restore(await self.backend.rerank(texts.request), request)

    def _bounds(self, request: RerankRequest) -> Bounds:
        asked = request.max_tokens_per_doc if self._cuts else None
        limits = self._limits.limits
        if not self._foresees:
            return Bounds(asked)
        return Bounds(
            asked, limits.tokens_per_document, limits.tokens_per_query, _without_reserve(limits.tokens_per_pair)
        )

    def _bounds_told(self, request: RerankRequest, error: TooLong) -> Bounds | None:
        """What to keep to after a refusal: the limit that it names, else those that are known. None if neither is."""
        if self._settings.long_documents not in ("truncate", "chunk_max"):
            return None
        if error.max_tokens is not None and error.max_tokens > 0:
            self._limits.learn_tokens(error.max_tokens)
        asked, limits = request.max_tokens_per_doc if self._cuts else None, self._limits.limits
        # Twice the usual room: the usual one may just have been too little.
        pair = _without_reserve(limits.tokens_per_pair, 2)
        bounds = Bounds(asked, limits.tokens_per_document, limits.tokens_per_query, pair)
        return bounds if bounds.of_target else None

    async def _fit(self, request: RerankRequest, bounds: Bounds) -> Texts:
        """The request with texts that keep to the bounds. Long ones are read in a thread."""
        work = partial(fit, request, bounds, self._settings.long_documents, self._counter, self._target.provider)
        size = _characters(request)
        try:
            if size <= INLINE_CHARACTERS and self._counter.is_ready:
                return work()
            return await POOL.run(size, work, request.call.deadline)
        except LimitExceeded as error:
            request.call.recorder.add_skip(self._target.provider, self._target.model, error)
            raise


class Texts:
    """A request whose texts may have been cut or divided, and how its answer becomes one for the caller's documents.

    Attributes:
        request: to be sent.
    """

    def __init__(
        self,
        request: RerankRequest,
        owners: Sequence[int] | None = None,
        starts: Sequence[int] = (),
        truncated: Sequence[dict[str, int]] = (),
        truncated_query: dict[str, int] | None = None,
    ) -> None:
        self.request = request
        self._owners = owners
        self._starts = starts
        self._truncated = truncated
        self._truncated_query = truncated_query

    def restore(self, ranking: Ranking, original: RerankRequest) -> Ranking:
        """The ranking of the caller's documents, each by its best window; `details` say what was cut."""
        if self._owners is not None or original.return_spans:
            best = self._best_pieces(ranking)
            if original.return_spans:
                ranking = self._with_spans(ranking, best)
            if self._owners is not None:
                results = [Ranked(index, row.relevance_score) for index, row in best.items()]
                ranking = replace(ranking, results=verify(results, original))
        told = self._told()
        return replace(ranking, details={**(ranking.details or {}), **told}) if told else ranking

    def _best_pieces(self, ranking: Ranking) -> dict[int, Ranked]:
        """The best result for a piece of each document, by the document's position; of equal ones the first."""
        best: dict[int, Ranked] = {}
        for row in ranking.results:
            owner = row.index if self._owners is None else self._owners[row.index]
            if owner not in best or row.relevance_score > best[owner].relevance_score:
                best[owner] = row
        return best

    def _with_spans(self, ranking: Ranking, best: Mapping[int, Ranked]) -> Ranking:
        """The target's spans as places in the caller's documents; where it tells none, the window that decided."""
        told, spans = ranking.spans, dict[int, list[Span]]()
        for owner, row in best.items():
            start, own = self._starts[row.index], (told or {}).get(row.index)
            if own:
                spans[owner] = [replace(each, start=each.start + start, end=each.end + start) for each in own]
            elif told is None and self._is_window(row.index):
                text = self.request.documents[row.index]
                end = start + (len(text) if isinstance(text, str) else 0)
                spans[owner] = [Span(start, end, row.relevance_score)]
        warnings = ranking.warnings
        if told is None and len(spans) == len(best):
            warnings = tuple(each for each in warnings if each != SPANS_UNAVAILABLE)
        return replace(ranking, spans=spans if spans or told is not None else None, warnings=warnings)

    def _is_window(self, piece: int) -> bool:
        """Whether another piece is of the same document."""
        owners = self._owners or ()
        return any(0 <= other < len(owners) and owners[other] == owners[piece] for other in (piece - 1, piece + 1))

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self._truncated:
            told = {"truncated_documents": len(self._truncated), "truncated": list(self._truncated)}
        if self._truncated_query is not None:
            told["truncated_query"] = self._truncated_query
        return told


def fit(
    request: RerankRequest, bounds: Bounds, mode: LongDocuments | None, counter: TokenCounter, provider: str
) -> Texts:
    """The request within the bounds. Pure; takes as long as its texts are long.

    Raises:
        LimitExceeded: a text is too long and `mode` is error, or there is no room for anything of it.
    """
    return _Fitting(request, bounds, mode, counter, provider).fit()


class _Fitting:
    def __init__(
        self, request: RerankRequest, bounds: Bounds, mode: LongDocuments | None, counter: TokenCounter, provider: str
    ) -> None:
        self._request, self._bounds, self._counter = request, bounds, counter
        self._mode, self._provider = mode, provider
        self._truncated: list[dict[str, int]] = []
        self._windows_left = MAX_WINDOWS
        self._query_tokens: dict[str, int] = {}

    def fit(self) -> Texts:
        request = self._request
        several = request.queries if request.queries is not None and len(request.queries) > 1 else None
        query, told = self._query(request.query)
        queries = [query] * len(request.documents) if several is None else [self._query(each)[0] for each in several]
        pieces = [self._document(index, document, queries[index]) for index, document in enumerate(request.documents)]
        documents = [piece for found in pieces for _, piece in found]
        starts = [start for found in pieces for start, _ in found]
        owners = [index for index, found in enumerate(pieces) for _ in found]
        scores, is_divided = request.first_stage_scores, len(documents) > len(pieces)
        fitted = replace(
            request,
            query=query,
            queries=self._queries(several, queries, query, owners),
            documents=documents,
            first_stage_scores=None if scores is None else [scores[owner] for owner in owners],
            top_n=None if is_divided else request.top_n,
        )
        return Texts(fitted, owners if is_divided else None, starts, self._truncated, told)

    def _queries(
        self, several: Any, queries: list[TextOrParts], query: TextOrParts, owners: Sequence[int]
    ) -> list[TextOrParts] | None:
        if several is not None:
            return [queries[owner] for owner in owners]
        return None if self._request.queries is None else [query]

    def _query(self, query: TextOrParts) -> tuple[TextOrParts, dict[str, int] | None]:
        limit = self._bounds.of_query
        if limit is None or not isinstance(query, str) or self._fits(query, limit):
            return query, None
        self._refuse_if_told("the query", limit)
        start, end = self._cut(query, limit, "the query")
        return query[start:end], {"characters": len(query), "kept": end - start} if query[end:].strip() else None

    def _document(self, index: int, document: TextOrParts, query: TextOrParts) -> list[tuple[int, TextOrParts]]:
        """The pieces of one document, each with its place in it: itself, what was kept of it, or its windows."""
        check_cancelled()
        if not isinstance(document, str):
            return [(0, document)]
        name = f"the document at index {index}"
        limit, asked = self._limit(query, name), self._bounds.asked
        begin, end = 0, len(document)
        if asked is not None and not self._fits(document, asked):
            begin, end = self._cut(document, asked, name)
        text = document[begin:end]
        spans = [(0, len(text))] if limit is None or self._fits(text, limit) else self._spans(text, limit, name)
        if document[begin + spans[-1][1] :].strip():
            self._truncated.append({"index": index, "characters": len(document), "kept": spans[-1][1] - spans[0][0]})
        self._windows_left -= len(spans)
        return [(begin + first, text[first:last]) for first, last in spans]

    def _limit(self, query: TextOrParts, name: str) -> int | None:
        pair = self._bounds.pair
        if pair is None:
            return self._bounds.document
        texts = (query, self._request.instruction)  # Some models read an instruction with the query.
        left = pair - sum(self._tokens_of(text) for text in texts if isinstance(text, str) and text)
        if left < 1:
            raise self._no_room(name)
        return _least(left, self._bounds.document)

    def _tokens_of(self, query: str) -> int:
        """Tokens of a query or an instruction, counted once for all documents."""
        if query not in self._query_tokens:
            self._query_tokens[query] = self._counter.count(query)
        return self._query_tokens[query]

    def _spans(self, text: str, limit: int, name: str) -> list[Piece]:
        self._refuse_if_told(name, limit)
        if self._mode != "chunk_max":
            return [self._cut(text, limit, name)]
        found = windows(text, limit, self._counter, max(1, min(MAX_WINDOWS_PER_DOCUMENT, self._windows_left)))
        if not found:
            raise self._no_room(name)
        return found

    def _fits(self, text: str, limit: int) -> bool:
        if text.isascii() and len(text) < limit:
            return True  # Most texts are so short that they need not be counted.
        longest = limit * (MAX_CHARACTERS_PER_TOKEN if self._counter.is_exact else 1)
        return len(text) <= longest and self._counter.count(text) <= limit

    def _cut(self, text: str, limit: int, name: str) -> Piece:
        span = cut(text, limit, self._counter)
        if span is None:
            raise self._no_room(name)
        return span

    def _refuse_if_told(self, name: str, limit: int) -> None:
        if self._mode == "error":
            raise LimitExceeded(
                f'{name} is longer than provider "{self._provider}" reads ({limit} tokens); shorten it, '
                "or set long_documents of the provider's capabilities",
                status=413,
            )

    def _no_room(self, name: str) -> LimitExceeded:
        return LimitExceeded(
            f'the limits on tokens of provider "{self._provider}", or max_tokens_per_doc, leave no room for {name}',
            status=413,
        )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _without_reserve(pair: int | None, times: int = 1) -> int | None:
    return None if pair is None else max(1, pair - times * min(MAX_RESERVE, max(4, pair // RESERVE_SHARE)))


def _characters(request: RerankRequest) -> int:
    """What cutting a request costs, in characters of its texts."""
    texts = [request.query, *request.documents, *(request.queries or ())]
    around = CHARACTERS_AROUND_DOCUMENT * len(request.documents)
    return around + sum(len(text) for text in texts if isinstance(text, str))
