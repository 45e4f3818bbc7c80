"""The exact cache: what a target has scored for the same question is not sent to it again.

Of a pointwise model scores are kept by document, so that of a list only the new documents are sent; of any other model
by the whole list. Nothing is kept of errors, of degraded answers, nor of an answer that carries a mark (texts that were
cut, warnings): those are asked for each time, so that the mark is never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from gateway import blocking
from gateway.cache.entries import Entry, EntryStore
from gateway.cache.keys import QuestionKeys, key_of_list, keys_of_documents, local_keys_of_documents
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.merging import cuts_of, sum_usages, total
from gateway.policy.target_id import TargetId
from gateway.policy.verification import verify
from gateway.policy.wrapper import Wrapper
from providers.errors import TargetTimeout
from providers.types import Backend, Ranked, Ranking, RerankRequest, TextOrParts, Usage

INLINE_BYTES = 256 * 1024
"""Bodies up to this size are hashed where they are: it takes a fraction of a millisecond."""

MAX_KEYS_AT_ONCE = 1000
"""Documents that are looked up and put together again without letting others run in between."""

LOOKUP_SHARE = 0.25
"""Of the time that is left, for which a store may be asked: the rest is for the target, should the store be slow."""

_MARKS = ("degraded", "truncated_documents", "truncated", "truncated_query")
_NOTHING_USED = Usage(prompt_tokens=0, total_tokens=0, search_units=0.0)


class CacheStats(Struct):
    """What the cache has done for one target.

    Attributes:
        hits, misses: documents that were found, or sent.
        tokens, usd: what those found would have taken, as far as it is known.
    """

    hits: int = 0
    misses: int = 0
    tokens: float = 0.0
    usd: float = 0.0


class Flight(Struct, eq=False):
    """A call under way.

    Attributes:
        keys: of what it will fill.
        over: done when the call is over, however it ended; None while nobody waits.
        entries: what it gave, for those who wait: a store may be late to have it, or have no room for it.
        is_over: it has ended.
        is_cancelled: its caller has gone away, or had no time left.
    """

    keys: Sequence[bytes]
    over: asyncio.Future[None] | None = None
    entries: Mapping[bytes, Entry] = {}
    is_over: bool = False
    is_cancelled: bool = False

    def wait(self) -> asyncio.Future[None]:
        """A future that is done when the call is over."""
        if self.over is None:
            self.over = asyncio.get_running_loop().create_future()
        return self.over

    def end(self) -> None:
        """Let those go on who wait."""
        self.is_over = True
        if self.over is not None:
            self.over.set_result(None)


class Cache(Struct, frozen=True):
    """What all targets share.

    Attributes:
        store: where entries are kept.
        secret: what their keys are hashed with.
        flights: calls under way, by the question and by each key that they will fill.
    """

    store: EntryStore
    secret: bytes
    flights: dict[bytes, dict[bytes, Flight]]


class ScoreCache(Wrapper):
    """The cache around one target.

    Args:
        backend: the target, with its policies.
        cache: shared by all.
        target: whose it is.
        identity: digest of all settings of the target that could change a score.
        is_pointwise: whether each document is scored by itself.
        alias: the configuration's name that leads here, which answers show.
        stats: of the target.
    """

    def __init__(
        self,
        backend: Backend,
        cache: Cache,
        target: TargetId,
        identity: bytes,
        is_pointwise: bool,
        alias: str | None,
        stats: CacheStats,
        clock: Clock = CLOCK,
    ) -> None:
        super().__init__(backend)
        self._cache = cache
        self._target = target
        self._questions = QuestionKeys(cache.secret, identity)
        self._is_pointwise = is_pointwise
        self._alias = alias or ""
        self._stats = stats
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking, of which some or all may have been kept. Raises what the target raises."""
        if request.queries is not None or request.return_spans:
            return await self.backend.rerank(request)  # scores alone are kept: no pairs, and no passages
        if request.call.body_bytes > INLINE_BYTES:
            work = partial(self._keys, request)
            question, keys = await blocking.run(request.call.body_bytes, work, request.call.deadline)
        else:
            question, keys = self._keys(request)
        return await _Lookup(self, request, question, keys).run()

    def _keys(self, request: RerankRequest) -> tuple[bytes, list[bytes]]:
        """The question, and a key for each document, or one for the list."""
        question = self._questions.of(request)
        if self._is_pointwise:
            keys_of = local_keys_of_documents if self._cache.store.is_local else keys_of_documents
            return question, keys_of(question, request.documents)
        return question, [key_of_list(question, request)]


class _Lookup:
    """One request on its way through the cache.

    A part is a document of a pointwise model, or else the whole list. Parts with the same key are asked for once.
    """

    def __init__(self, policy: ScoreCache, request: RerankRequest, question: bytes, keys: list[bytes]) -> None:
        self._policy, self._request, self._question, self._keys = policy, request, question, keys
        self._store, self._flights = policy._cache.store, policy._cache.flights
        self._known: dict[bytes, Entry] = {}
        self._answers: list[Ranking] = []
        self._found: set[bytes] = set()

    async def run(self) -> Ranking:
        missing = await self._find(self._keys)
        if len(self._keys) > MAX_KEYS_AT_ONCE:
            await asyncio.sleep(0)  # Where all is known nothing else waits: not even between the stages of a cascade.
        taken = self._taken_by_others(missing)
        own = [key for key in missing if key not in taken] if taken else missing
        if own:
            ranking = await self._ask(own)
            if len(own) == len(self._keys):
                return ranking  # nothing was known, and nothing has to be put together
        while taken:
            left = await self._wait(taken)
            # A caller that went away, or had too little time, says nothing of the target: one of those who waited asks
            # for all of them.
            is_cancelled = any(flight.is_cancelled for flight in taken.values())
            taken = self._taken_by_others(left) if is_cancelled else {}
            if own := [key for key in left if key not in taken]:
                await self._ask(own)
        if self._is_mixed():
            return await self._policy.backend.rerank(self._request)
        return self._merge()

    def _is_mixed(self) -> bool:
        """Whether the parts are not of one kind: what was kept is of another space by now, or a part is degraded."""
        degraded = [bool(ranking.details and ranking.details.get("degraded")) for ranking in self._answers]
        is_part = len(self._answers) > 1 or bool(self._found)
        return len({entry.space for entry in self._known.values()}) > 1 or (any(degraded) and is_part)

    def _placed(self, keys: list[bytes], ranking: Ranking) -> Ranking:
        """The ranking with what it tells of documents by their places in the request."""
        cuts = [cut for cut in cuts_of(ranking.details) if 0 <= cut["index"] < len(keys)]
        if not cuts or not self._policy._is_pointwise or keys == self._keys:
            return ranking
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(self._keys):
            places.setdefault(key, []).append(place)
        placed = [{**cut, "index": place} for cut in cuts for place in places[keys[cut["index"]]]]
        placed.sort(key=itemgetter("index"))
        return replace(
            ranking, details={**(ranking.details or {}), "truncated": placed, "truncated_documents": len(placed)}
        )

    async def _find(self, keys: list[bytes]) -> list[bytes]:
        """Look these keys up. Returns those without an entry, each once."""
        left = self._time_left()
        found = await self._store.find(self._question, keys, None if left is None else left * LOOKUP_SHARE)
        if not found:
            return list(dict.fromkeys(keys))
        self._known |= found
        self._found |= found.keys()
        return [key for key in dict.fromkeys(keys) if key not in found]

    def _time_left(self) -> float | None:
        deadline = self._request.call.deadline
        return None if deadline is None else max(0.0, deadline - self._policy._clock.now())

    def _taken_by_others(self, missing: list[bytes]) -> dict[bytes, Flight]:
        """Those of the missing keys that a call under way will fill."""
        flights = self._flights.get(self._question)
        if not flights:
            return {}
        return {key: flight for key in missing if (flight := flights.get(key)) is not None}

    async def _wait(self, taken: dict[bytes, Flight]) -> list[bytes]:
        """Wait for the calls that will fill these keys. Returns those that are still without an entry."""
        deadline, clock = self._request.call.deadline, self._policy._clock
        pending = {flight.wait() for flight in set(taken.values()) if not flight.is_over}
        if pending:
            start = clock.now()
            await asyncio.wait(pending, timeout=None if deadline is None else max(0.0, deadline - start))
            self._request.call.recorder.add_wait(start, clock.now())
        given = {key: flight.entries[key] for key, flight in taken.items() if key in flight.entries}
        self._known |= given
        self._found |= given.keys()
        left = [key for key in taken if key not in given]
        return await self._find(left) if left else []

    async def _ask(self, keys: list[bytes]) -> Ranking:
        """Ask the target for these parts, and keep what it gives. Others who want the same wait meanwhile."""
        flight = Flight(keys)
        flights = self._flights.setdefault(self._question, {})
        flights |= dict.fromkeys(keys, flight)
        try:
            ranking = await self._policy.backend.rerank(self._part(keys))
            entries = self._entries(keys, ranking)
            if not _is_marked(ranking):
                self._store.keep(self._question, entries)
                flight.entries = entries
        except asyncio.CancelledError:
            flight.is_cancelled = True
            raise
        except TargetTimeout:
            flight.is_cancelled = self._time_left() == 0.0
            raise
        finally:
            self._land(flight)
        self._known |= entries
        self._answers.append(self._placed(keys, ranking))
        self._policy._stats.misses += len(keys) if self._policy._is_pointwise else len(self._request.documents)
        return self._cut(ranking)

    def _land(self, flight: Flight) -> None:
        """Let those go on who wait for the call, and later ones ask for themselves."""
        flights = self._flights.get(self._question, {})
        for key in flight.keys:
            if flights.get(key) is flight:  # and not a later one: after a failure each asks for itself
                del flights[key]
        if not flights:
            self._flights.pop(self._question, None)
        flight.end()

    def _part(self, keys: list[bytes]) -> RerankRequest:
        request = self._request
        if not self._policy._is_pointwise:
            return request
        # All scores are wanted, to be kept: the list is cut when it is whole.
        if keys == self._keys:
            return request if request.top_n is None else replace(request, top_n=None)
        places = self._first_places()
        documents = [request.documents[places[key]] for key in keys]
        # What is not sent took at least a byte for each character of the body.
        left_out = max(0, _characters(request.documents) - _characters(documents))
        call = replace(request.call, body_bytes=max(0, request.call.body_bytes - left_out))
        return replace(request, documents=documents, top_n=None, call=call)

    def _first_places(self) -> dict[bytes, int]:
        return {key: place for place, key in reversed(list(enumerate(self._keys)))}

    def _entries(self, keys: list[bytes], ranking: Ranking) -> dict[bytes, Entry]:
        space, cost = ranking.score_space, ranking.cost
        tokens = ranking.usage.charged_tokens if ranking.usage is not None else None
        if not self._policy._is_pointwise:
            rows = [(result.index, result.relevance_score) for result in ranking.results]
            return {keys[0]: Entry(rows, space, tokens, cost)}
        count = len(keys)
        share = None if tokens is None else tokens / count
        cost = None if cost is None else cost / count
        return {keys[row.index]: Entry(row.relevance_score, space, share, cost) for row in ranking.results}

    def _cut(self, ranking: Ranking) -> Ranking:
        top_n = self._request.top_n
        if top_n is None or len(ranking.results) <= top_n:
            return ranking
        return replace(ranking, results=ranking.results[:top_n])

    def _merge(self) -> Ranking:
        """One ranking of what was kept and what was asked for now."""
        whole = _combine(self._answers) if self._answers else self._kept_ranking()
        results = verify(self._results(), self._request)
        details = {**(whole.details or {}), **self._savings()}
        return replace(whole, results=results, details=details or None, alias=self._policy._alias)

    def _kept_ranking(self) -> Ranking:
        policy = self._policy
        space = next(iter(self._known.values())).space
        target = policy._target
        return Ranking(
            results=[], usage=_NOTHING_USED, provider=target.provider, model=target.model, cost=0.0, score_space=space
        )

    def _results(self) -> list[Ranked]:
        known = self._known
        if not self._policy._is_pointwise:
            rows = known[self._keys[0]].scores
            return [Ranked(index, score) for index, score in rows] if isinstance(rows, list) else []
        scores = [(place, known[key].scores) for place, key in enumerate(self._keys) if key in known]
        return [Ranked(place, score) for place, score in scores if isinstance(score, int | float)]

    def _savings(self) -> Mapping[str, object]:
        """What was not asked for: documents, and the tokens and US dollars that they took when they were."""
        is_pointwise, stats = self._policy._is_pointwise, self._policy._stats
        entries = [self._known[key] for key in self._keys if key in self._found]
        documents = len(entries) if is_pointwise else len(self._request.documents)
        if not entries:
            return {}
        tokens = sum(entry.tokens or 0.0 for entry in entries)
        usd = sum(entry.cost or 0.0 for entry in entries)
        stats.hits, stats.tokens, stats.usd = stats.hits + documents, stats.tokens + tokens, stats.usd + usd
        return {"cache": {"documents": documents, "tokens": round(tokens), "usd": usd}}


def _characters(documents: Sequence[TextOrParts]) -> int:
    return sum(len(document) for document in documents if isinstance(document, str))


def _is_marked(ranking: Ranking) -> bool:
    details = ranking.details
    return bool(ranking.warnings) or bool(details and not details.keys().isdisjoint(_MARKS))


def _combine(answers: Sequence[Ranking]) -> Ranking:
    """What several calls for parts of one request used and told. Their results stay apart."""
    if len(answers) == 1:
        return answers[0]
    details = [ranking.details or {} for ranking in answers]
    told = {name: value for each in reversed(details) for name, value in each.items()}
    if cuts := [cut for each in details for cut in cuts_of(each)]:
        told |= {"truncated": sorted(cuts, key=itemgetter("index")), "truncated_documents": len(cuts)}
    return replace(
        answers[0],
        usage=sum_usages([ranking.usage for ranking in answers]),
        cost=total(ranking.cost for ranking in answers),
        warnings=tuple(dict.fromkeys(warning for ranking in answers for warning in ranking.warnings)),
        details=told or None,
    )
