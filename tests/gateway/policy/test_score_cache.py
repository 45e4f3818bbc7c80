"""The exact cache: what is sent, what is answered, and that it changes nothing of any answer."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.cache.entries import Entry
from gateway.cache.keys import IRRELEVANT, keys_of_documents, local_keys_of_documents
from gateway.cache.memory import ENTRY_BYTES, MIN_SWEEP, QUESTION_BYTES, RESULT_BYTES, MemoryEntries
from gateway.policy.score_cache import MAX_KEYS_AT_ONCE, Cache, CacheStats, ScoreCache
from gateway.policy.target_id import TargetId
from gateway.policy.verification import verify
from gateway.telemetry.recorder import RequestRecorder
from providers.errors import TargetFailed, TargetTimeout
from providers.types import AnswerWarning, Call, ContentParts, Ranked, Ranking, RerankRequest, Usage

TARGET = TargetId("p", "m")


def score(query: str, text: Any) -> float:
    return float(len(set(str(query)) & set(str(text)))) + len(str(text)) / 100


class Model:
    """Scores by common letters; `listwise` adds the number of documents. Fails while `broken`, once by `failure`."""

    def __init__(self, listwise: bool = False, **answer: Any) -> None:
        self.listwise = listwise
        self.answer = answer
        self.broken = False
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.sent: list[list[Any]] = []

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.sent.append(list(request.documents))
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise TargetFailed("no")
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        bonus = float(len(request.documents)) if self.listwise else 0.0
        rows = [Ranked(i, score(str(request.query), text) + bonus) for i, text in enumerate(request.documents)]
        count = len(request.documents)
        fields = {"usage": Usage(total_tokens=10 * count), "cost": 0.001 * count, "provider": "p", "model": "m"}
        return Ranking(**{"results": verify(rows, request), **fields, **self.answer})

    async def ready(self) -> bool:
        return True


def around(
    model: Model, store: MemoryEntries | None = None, *, pointwise: bool = True, identity: bytes = b"t"
) -> ScoreCache:
    cache = Cache(store or MemoryEntries(1 << 20, 60.0), b"secret", {})
    return ScoreCache(model, cache, TARGET, identity, pointwise, None, CacheStats())


def asked(*documents: Any, query: str = "abc", caller: str = "", **fields: Any) -> RerankRequest:
    call = Call(id="1", caller=caller, recorder=RequestRecorder())
    return RerankRequest(model="x", query=query, documents=list(documents), call=call, **fields)


def rows(ranking: Ranking) -> list[tuple[int, float]]:
    return [(result.index, result.relevance_score) for result in ranking.results]


async def test_only_new_documents_are_sent() -> None:
    model = Model()
    policy = around(model)
    known = [f"known {n}" for n in range(90)]
    new = [f"new {n}" for n in range(10)]
    await policy.rerank(asked(*known, top_n=5))
    answer = await policy.rerank(asked(*known, *new))
    assert [len(texts) for texts in model.sent] == [90, 10]
    assert model.sent[1] == new
    assert rows(answer) == rows(await Model().rerank(asked(*known, *new)))
    assert answer.usage == Usage(total_tokens=100)
    assert answer.cost == pytest.approx(0.01)
    assert answer.details == {"cache": {"documents": 90, "tokens": 900, "usd": pytest.approx(0.09)}}
    stats = policy._stats
    assert (stats.hits, stats.misses, stats.tokens) == (90, 100, pytest.approx(900))


async def test_a_known_list_is_answered_without_the_target() -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a", "b", "c"))
    model.broken = True
    answer = await policy.rerank(asked("c", "a", "b", top_n=2))
    assert len(model.sent) == 1
    assert rows(answer) == rows(await Model().rerank(asked("c", "a", "b", top_n=2)))
    assert (answer.cost, answer.provider, answer.model) == (0.0, "p", "m")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0


APART: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another query": ({}, {"query": "xyz"}),
    "another caller": ({"caller": "team-a"}, {"caller": "team-b"}),
    "nobody and somebody": ({}, {"caller": "team-b"}),
    "another instruction": ({"instruction": "a"}, {"instruction": "b"}),
    "other fields of the vendor": ({"extra": {"raw": 1}}, {"extra": {"raw": True}}),
    "more tokens": ({"max_tokens_per_doc": 5}, {"max_tokens_per_doc": 6}),
}
TOGETHER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another number of results": ({"top_n": 1}, {"top_n": 2}),
    "another scale, which the gateway applies": ({"scores": "provider"}, {"scores": "probability"}),
    "another threshold": ({}, {"min_score": 0.5}),
    "another priority": ({"priority": 1}, {}),
    "documents wanted back": ({}, {"return_documents": True}),
}


@pytest.mark.parametrize(("first", "second"), APART.values(), ids=APART)
async def test_what_could_change_a_score_is_kept_apart(first, second) -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a", "b", **first))
    await policy.rerank(asked("a", "b", **second))
    assert len(model.sent) == 2


@pytest.mark.parametrize(("first", "second"), TOGETHER.values(), ids=TOGETHER)
async def test_what_could_not_is_found(first, second) -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a", "b", **first))
    await policy.rerank(asked("a", "b", **second))
    assert len(model.sent) == 1


def test_a_new_field_of_a_request_counts_until_it_is_said_not_to() -> None:
    assert set(RerankRequest.__struct_fields__) >= IRRELEVANT
    relevant = set(RerankRequest.__struct_fields__) - IRRELEVANT
    assert relevant >= {"query", "queries", "max_tokens_per_doc", "instruction", "extra"}


async def test_targets_and_their_settings_are_kept_apart() -> None:
    model, store = Model(), MemoryEntries(1 << 20, 60.0)
    for identity in (b"one", b"two"):
        await around(model, store, identity=identity).rerank(asked("a"))
    assert len(model.sent) == 2


async def test_pictures_and_texts_are_kept_apart() -> None:
    model = Model()
    policy = around(model)
    parts = ContentParts([{"type": "text", "text": "a"}])
    await policy.rerank(asked(parts))
    await policy.rerank(asked(repr(parts)))
    await policy.rerank(asked(parts))
    assert len(model.sent) == 2


async def test_a_text_with_half_a_pair_has_a_key() -> None:
    model = Model()
    policy = around(model)
    for _ in range(2):
        await policy.rerank(asked("\ud800", query="\udfff", extra={"a": "\ud801"}))
    assert len(model.sent) == 1


@pytest.mark.parametrize("fields", [{"return_spans": True}, {"queries": ["abc"]}], ids=["passages", "pairs"])
async def test_what_is_more_than_scores_passes_by(fields) -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a"))
    for _ in range(2):
        await policy.rerank(asked("a", **fields))
    assert len(model.sent) == 3


async def test_duplicates_are_sent_once() -> None:
    model = Model()
    answer = await around(model).rerank(asked("a", "b", "a", "a"))
    assert model.sent == [["a", "b"]]
    assert rows(answer) == rows(await Model().rerank(asked("a", "b", "a", "a")))


LISTS: dict[str, tuple[RerankRequest, RerankRequest, int]] = {
    "the same list": (asked("a", "b"), asked("a", "b"), 1),
    "another order": (asked("a", "b"), asked("b", "a"), 2),
    "a part of it": (asked("a", "b"), asked("a"), 2),
    "another top_n": (asked("a", "b"), asked("a", "b", top_n=1), 2),
}


@pytest.mark.parametrize(("first", "second", "calls"), LISTS.values(), ids=LISTS)
async def test_a_listwise_model_is_kept_by_the_whole_list(first, second, calls) -> None:
    model = Model(listwise=True)
    policy = around(model, pointwise=False)
    await policy.rerank(first)
    answer = await policy.rerank(second)
    assert len(model.sent) == calls
    assert rows(answer) == rows(await Model(listwise=True).rerank(second))


MARKS: dict[str, dict[str, Any]] = {
    "degraded": {"details": {"degraded": True}},
    "cut texts": {"details": {"truncated_documents": 1}},
    "a warning": {"warnings": (AnswerWarning("x", "y"),)},
}


@pytest.mark.parametrize("answer", MARKS.values(), ids=MARKS)
async def test_an_answer_with_a_mark_is_not_kept(answer) -> None:
    model = Model(**answer)
    policy = around(model)
    for _ in range(2):
        ranking = await policy.rerank(asked("a", "b"))
        assert (ranking.details, ranking.warnings) == (answer.get("details"), answer.get("warnings", ()))
    assert len(model.sent) == 2


async def test_what_was_cut_is_told_by_the_place_in_the_request() -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a", "b"))
    model.answer = {"details": {"truncated": [{"index": 1, "characters": 9, "kept": 3}], "truncated_documents": 1}}
    answer = await policy.rerank(asked("a", "long", "b", "too long", "too long"))
    assert answer.details is not None
    assert [cut["index"] for cut in answer.details["truncated"]] == [3, 4]


async def test_a_part_that_is_degraded_is_not_mixed_with_scores() -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a"))
    model.answer = {"details": {"degraded": True}}
    answer = await policy.rerank(asked("a", "b"))
    assert model.sent == [["a"], ["b"], ["a", "b"]]
    assert answer.details == {"degraded": True}


async def test_scores_of_another_space_are_not_mixed() -> None:
    model = Model(score_space="logit")
    policy = around(model)
    await policy.rerank(asked("a"))
    model.answer = {"score_space": "probability"}
    answer = await policy.rerank(asked("a", "b"))
    assert answer.score_space == "probability"
    assert model.sent[-1] == ["a", "b"]


async def test_errors_are_not_kept() -> None:
    model = Model()
    policy = around(model)
    model.broken = True
    for _ in range(2):
        with pytest.raises(TargetFailed):
            await policy.rerank(asked("a"))
    model.broken = False
    await policy.rerank(asked("a"))
    assert len(model.sent) == 3


async def until_sent(model: Model, count: int) -> None:
    for _ in range(50):
        if len(model.sent) >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError(model.sent)


async def test_requests_at_the_same_time_send_a_document_once() -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    tasks = [asyncio.create_task(policy.rerank(asked(*texts))) for texts in ("abc", "bcd", "abc", "d")]
    await until_sent(model, 2)
    for _ in range(5):
        await asyncio.sleep(0)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.sent == [["a", "b", "c"], ["d"]]
    for texts, answer in zip(("abc", "bcd", "abc", "d"), answers, strict=True):
        assert rows(answer) == rows(await Model().rerank(asked(*texts)))
    assert policy._cache.flights == {}


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_those_who_wait_ask_for_themselves_if_a_call(end) -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    first = asyncio.create_task(policy.rerank(asked("a")))
    await until_sent(model, 1)
    second = asyncio.create_task(policy.rerank(asked("a")))
    for _ in range(3):
        await asyncio.sleep(0)
    if end == "fails":
        model.broken = True
        model.gate.set()
        with pytest.raises(TargetFailed):
            await first
        model.broken = False
    else:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        model.gate.set()
    assert rows(await second) == [(0, score("abc", "a"))]
    assert model.sent == [["a"], ["a"]]
    assert policy._cache.flights == {}


@pytest.mark.parametrize("end", ["fails", "is cancelled", "ends"])
@pytest.mark.parametrize("texts", list(itertools.permutations(["a", "bb", "ccc"])), ids=" ".join)
async def test_each_document_has_its_own_score_in_whatever_order_it_waited(texts: Any, end: str) -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    first = asyncio.create_task(policy.rerank(asked("a", "bb", "ccc")))
    await until_sent(model, 1)
    second = asyncio.create_task(policy.rerank(asked(*texts)))
    for _ in range(3):
        await asyncio.sleep(0)
    model.failure = TargetFailed("no") if end == "fails" else None
    if end == "is cancelled":
        first.cancel()
    model.gate.set()
    await asyncio.gather(first, return_exceptions=True)
    for answer, asked_for in (
        (await second, texts),
        (await policy.rerank(asked("ccc", "bb", "a")), ("ccc", "bb", "a")),
    ):
        assert rows(answer) == rows(await Model().rerank(asked(*asked_for)))


async def test_one_of_those_who_wait_asks_for_all_when_a_caller_had_too_little_time() -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    hurried = asked("a")
    hurried = replace(hurried, call=replace(hurried.call, deadline=0.0))  # long past
    first = asyncio.create_task(policy.rerank(hurried))
    await until_sent(model, 1)
    others = [asyncio.create_task(policy.rerank(asked("a"))) for _ in range(20)]
    for _ in range(3):
        await asyncio.sleep(0)
    model.failure = TargetTimeout("too slow")
    model.gate.set()
    with pytest.raises(TargetTimeout):
        await first
    assert [rows(answer) for answer in await asyncio.gather(*others)] == 20 * [[(0, score("abc", "a"))]]
    assert model.sent == [["a"], ["a"]]


class SlowStore(MemoryEntries):
    """Tells for how long it may be asked."""

    seconds: float | None = -1.0

    async def find(self, question, keys, seconds=None):
        self.seconds = seconds
        return {}


@pytest.mark.parametrize(("deadline", "seconds"), [(None, None), (8.0, 1.0), (4.0, 0.0), (1.0, 0.0)])
async def test_a_store_may_take_a_part_of_the_time_that_is_left(deadline, seconds, time) -> None:
    store = SlowStore(1 << 20, 60.0)
    policy = around(Model(), store)
    policy._clock, time.now = time.clock, 4.0
    request = asked("a")
    await policy.rerank(replace(request, call=replace(request.call, deadline=deadline)))
    assert store.seconds == seconds


class LateStore(MemoryEntries):
    """Finds nothing that was kept lately, as a server does until it has been written to."""

    async def find(self, question, keys, seconds=None):
        await asyncio.sleep(0)
        return {}


@pytest.mark.parametrize("store", [LateStore(1 << 20, 60.0), MemoryEntries(1, 60.0)], ids=["is late", "has no room"])
async def test_those_who_wait_get_what_a_call_gave_though_the_store(store) -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model, store)
    tasks = [asyncio.create_task(policy.rerank(asked("a", "b"))) for _ in range(3)]
    await until_sent(model, 1)
    for _ in range(5):
        await asyncio.sleep(0)
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.sent == [["a", "b"]]
    assert [rows(answer) for answer in answers] == 3 * [rows(await Model().rerank(asked("a", "b")))]
    assert [answer.cost for answer in answers[1:]] == [0.0, 0.0]


async def test_one_of_those_who_wait_asks_for_all_when_a_caller_goes_away() -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    tasks = [asyncio.create_task(policy.rerank(asked("a"))) for _ in range(5)]
    await until_sent(model, 1)
    for gone in tasks[:2]:
        for _ in range(5):
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await until_sent(model, 3)
    model.gate.set()
    answers = await asyncio.gather(*tasks[2:])
    assert model.sent == [["a"], ["a"], ["a"]]
    assert [rows(answer) for answer in answers] == 3 * [[(0, score("abc", "a"))]]
    assert policy._cache.flights == {}


ODD_CUTS: dict[str, Any] = {
    "a number": 3,
    "numbers": [3],
    "no place": [{"kept": 3}],
    "a place that is not there": [{"index": 7, "kept": 3}],
    "a place below 0": [{"index": -1, "kept": 3}],
}


@pytest.mark.parametrize("cuts", ODD_CUTS.values(), ids=ODD_CUTS)
async def test_an_odd_record_of_what_was_cut_harms_no_answer(cuts) -> None:
    model = Model()
    policy = around(model)
    await policy.rerank(asked("a"))
    model.answer = {"details": {"truncated": cuts}}
    answer = await policy.rerank(asked("a", "b"))
    assert rows(answer) == rows(await Model().rerank(asked("a", "b")))


async def test_who_waits_waits_no_longer_than_its_time() -> None:
    model = Model()
    model.gate = asyncio.Event()
    policy = around(model)
    first = asyncio.create_task(policy.rerank(asked("a")))
    await until_sent(model, 1)
    request = asked("a")
    request = replace(request, call=replace(request.call, deadline=0.0))  # long past
    second = asyncio.create_task(policy.rerank(request))
    await until_sent(model, 2)
    model.gate.set()
    await asyncio.gather(first, second)
    assert len(request.call.recorder.waits) == 1


async def test_entries_end_and_leave_when_there_are_too_many() -> None:
    now, room = 0.0, 3 * (QUESTION_BYTES + ENTRY_BYTES)
    store = MemoryEntries(room, 10.0, lambda: now)
    entry = Entry(0.5, "logit")
    for n in range(3):
        store.keep(bytes([n]), {b"k": entry})
    assert await store.find(b"\x00", [b"k", b"unknown"]) == {b"k": entry}  # which is now the last to leave
    store.keep(b"\x03", {b"k": entry})
    assert [bool(await store.find(bytes([n]), [b"k"])) for n in range(4)] == [True, False, True, True]
    assert store.memory_bytes == room
    now = 9.0
    store.keep(b"\x03", {b"later": entry})
    now = 10.0
    assert await store.find(b"\x03", [b"k", b"later"]) == {b"later": entry}
    store.keep(b"\x03", {bytes([n]): entry for n in range(MIN_SWEEP)})
    store.keep(b"big", {b"k": Entry([(n, 0.5) for n in range(1 + room // RESULT_BYTES)], "logit")})
    assert store.memory_bytes == 0
    assert await store.find(b"big", [b"k"]) == {}


async def test_what_has_ended_takes_no_room_of_a_question_that_goes_on() -> None:
    now = 0.0
    store = MemoryEntries(1 << 20, 10.0, lambda: now)
    for now in range(0, 1000):
        store.keep(b"q", {now.to_bytes(2, "big") + bytes([n]): Entry(0.5, "logit") for n in range(4)})
    assert len(store._questions[b"q"].entries) <= 2 * MIN_SWEEP
    assert store.memory_bytes == QUESTION_BYTES + ENTRY_BYTES * len(store._questions[b"q"].entries)
    store.keep(b"q", {now.to_bytes(2, "big") + bytes([0]): Entry(0.7, "logit")})
    assert store.memory_bytes == QUESTION_BYTES + ENTRY_BYTES * len(store._questions[b"q"].entries)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["abc", "bcd"]),  # query
        st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=6),
        st.none() | st.integers(1, 6),  # top_n
        st.booleans(),  # whether the target fails
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.booleans(), st.integers(0, 6))
async def test_on_equals_off(requests, pointwise: bool, room: int) -> None:
    """Over any requests, with failures and little room: the same rankings; an error only where it is off too."""
    live, plain = Model(listwise=not pointwise), Model(listwise=not pointwise)
    policy = around(live, MemoryEntries(room * (QUESTION_BYTES + ENTRY_BYTES), 60.0), pointwise=pointwise)
    for query, documents, top_n, broken in requests:
        live.broken = plain.broken = broken
        request = asked(*documents, query=query, top_n=top_n)
        try:
            expected: Ranking | None = await plain.rerank(request)
        except TargetFailed:
            expected = None
        try:
            answer = await policy.rerank(request)
        except TargetFailed:
            assert expected is None
            continue
        plain.broken = False
        expected = expected or await plain.rerank(request)  # what it would have been: a known answer survives failures
        assert rows(answer) == rows(expected)
        assert answer.score_space == expected.score_space
        assert (answer.provider, answer.model) == (expected.provider, expected.model)


@settings(max_examples=40, deadline=None)
@given(REQUESTS)
async def test_on_equals_off_at_the_same_time(requests) -> None:
    live = Model()
    policy = around(live)
    batch = [asked(*documents, query=query, top_n=top_n) for query, documents, top_n, _ in requests]
    answers = await asyncio.gather(*map(policy.rerank, batch))
    for request, answer in zip(batch, answers, strict=True):
        assert rows(answer) == rows(await Model().rerank(request))
    sent = [(tuple(texts)) for texts in live.sent]
    assert sum(map(len, sent)) == len({(r.query, text) for r in batch for text in r.documents})


class Faulty(Model):
    """Takes some turns of the event loop for each call, and fails at those calls."""

    def __init__(self, turns: list[int], failures: set[int]) -> None:
        super().__init__()
        self.turns, self.failures = turns, failures

    async def rerank(self, request: RerankRequest) -> Ranking:
        number = len(self.sent)
        answer = await super().rerank(request)
        for _ in range(self.turns[number % len(self.turns)]):
            await asyncio.sleep(0)
        if number in self.failures:
            raise TargetFailed("no")
        return answer


SOME_TEXTS = st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.permutations(["a", "bb", "ccc"]) | SOME_TEXTS, min_size=2, max_size=10),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.sets(st.integers(0, 9), max_size=5),
    st.dictionaries(st.integers(0, 9), st.integers(0, 9), max_size=4),
)
async def test_on_equals_off_at_the_same_time_with_failures_and_callers_that_leave(
    lists: list[list[str]], turns: list[int], failures: set[int], gone: dict[int, int]
) -> None:
    policy = around(Faulty(turns, failures))
    tasks = [asyncio.create_task(policy.rerank(asked(*documents))) for documents in lists]
    for turn in range(10):
        for number, leaves in gone.items():
            if leaves == turn and number < len(tasks):
                tasks[number].cancel()
        await asyncio.sleep(0)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    policy.backend = Model()
    later = [await policy.rerank(asked(*documents)) for documents in lists]
    for documents, answer in [*zip(lists, answers, strict=True), *zip(lists, later, strict=True)]:
        if isinstance(answer, Ranking):
            assert rows(answer) == rows(await Model().rerank(asked(*documents)))
        else:
            assert isinstance(answer, TargetFailed | asyncio.CancelledError)
    assert policy._cache.flights == {}


TEXTS = st.lists(st.text(alphabet=st.characters(codec=None), max_size=12), max_size=12)  # half surrogate pairs too


@pytest.mark.parametrize("keys_of", [keys_of_documents, local_keys_of_documents], ids=["shared", "local"])
@given(TEXTS)
def test_texts_have_the_same_key_where_they_are_the_same(keys_of: Any, texts: list[str]) -> None:
    copies = ["".join(list(text)) for text in texts]
    keys = keys_of(b"q" * 32, texts)
    assert keys == keys_of(b"q" * 32, copies)
    assert len(set(keys)) == len(set(texts))


def test_texts_and_parts_together_are_told_apart() -> None:
    documents = ["a", ContentParts(content=["a"]), "b", ContentParts(content=[{"text": "a"}])]
    assert len(set(local_keys_of_documents(b"q" * 32, documents))) == 4


class Shared(MemoryEntries):
    """As a store that other processes read: with keys that they have too."""

    is_local = False


async def test_a_shared_store_finds_what_another_process_kept() -> None:
    store, model = Shared(1 << 20, 60.0), Model()
    for _ in range(2):
        await around(model, store).rerank(asked("a", "b"))
    assert model.sent == [["a", "b"]]
    assert {len(key) for question in store._questions.values() for key in question.entries} == {16}


PICTURE = ContentParts([{"type": "text", "text": "a picture"}])
WEIGHED: dict[str, tuple[list[Any], int, int]] = {
    "long texts are known": (["a" * 3000, "b" * 3000, "c"], 2, 200),
    "what is escaped is known": (["\n\u00e9" * 500, "b"], 1, 3300),
    "a long text is new": (["a", "b" * 3000], 1, 3200),
    "one stands twice": (["a" * 3000, "a" * 3000, "b"], 2, 200),
    "a picture is known": ([PICTURE, "b" * 30], 1, 300),
}


@pytest.mark.parametrize(("documents", "new", "most"), WEIGHED.values(), ids=WEIGHED)
async def test_what_is_sent_is_weighed_by_itself(documents: list[Any], new: int, most: int) -> None:
    """By the whole body one new document among many would be read by a thread, or divided."""
    weighed: list[tuple[int, list[Any]]] = []

    class Scale(Model):
        async def rerank(self, request: RerankRequest) -> Ranking:
            weighed.append((request.call.body_bytes, list(request.documents)))
            return await super().rerank(request)

    policy = around(Scale())
    await policy.rerank(weighed_request(documents[:new]))
    await policy.rerank(weighed_request(documents))
    size, sent = weighed[-1]
    assert sent == documents[new:]
    assert size_of(sent) <= size <= most


def size_of(documents: list[Any]) -> int:
    return len(msgspec.json.encode([each if isinstance(each, str) else each.content for each in documents]))


def weighed_request(documents: list[Any]) -> RerankRequest:
    body = size_of(documents) + 50
    return RerankRequest(model="m", query="q", documents=documents, call=Call(id="1", body_bytes=body))


@pytest.mark.parametrize("count", [10, MAX_KEYS_AT_ONCE, MAX_KEYS_AT_ONCE + 1])
async def test_a_long_list_that_is_known_lets_others_run(count: int) -> None:
    """Two stages of 10,000 known documents held the loop for 80 ms."""
    policy = around(Model())
    request = weighed_request([f"text {number}" for number in range(count)])
    first = await policy.rerank(request)
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    again = await policy.rerank(request)
    assert again.results == first.results
    assert bool(ran) == (count > MAX_KEYS_AT_ONCE)
