"""Long documents and queries: cut, ranked by windows, or refused; and the caller is told which and how much."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tokenizers import Tokenizer, models, pre_tokenizers

from gateway.policy import long_texts
from gateway.policy.call_limits import CallLimits
from gateway.policy.long_texts import MAX_WINDOWS_PER_DOCUMENT, LongTexts, TextSettings
from gateway.policy.target_id import TargetId
from gateway.policy.verification import verify
from gateway.telemetry.recorder import RequestRecorder
from providers.capabilities import Capabilities, Limits
from providers.errors import LimitExceeded, TooLong
from providers.tokenization import TokenBound
from providers.types import Call, ContentParts, Ranked, Ranking, RerankRequest, Span

TARGET = TargetId("one", "m")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer for which each word is a token."""
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return str(path)


class Upstream:
    """Scores a document by how often it says "good"; refuses texts over `longest` characters as some servers do."""

    def __init__(self, longest: int = 10**9, says: str = "too long", tells: int | None = None) -> None:
        self.asked: list[RerankRequest] = []
        self.error = TooLong(says, status=400, max_tokens=tells)
        self.longest = longest

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked.append(request)
        if max(len(text) for text in (request.query, *request.documents) if isinstance(text, str)) > self.longest:
            raise self.error
        scores = [float(str(document).count("good")) for document in request.documents]
        rows = verify([Ranked(index, score) for index, score in enumerate(scores)], request)
        return Ranking(results=rows, details={"queue_ms": 1})

    async def ready(self) -> bool:
        return True


def policy(upstream: Upstream, limits: dict[str, int] | None = None, **chosen: Any) -> LongTexts:
    known = CallLimits(Capabilities(scoring="pointwise", limits=Limits(**(limits or {}))))
    return LongTexts(upstream, TextSettings(**chosen), known, TARGET)


def asked(*documents: Any, query: Any = "q", **fields: Any) -> RerankRequest:
    call = Call(id="1", recorder=RequestRecorder())
    return RerankRequest(model="m", query=query, documents=list(documents), call=call, **fields)


LONG = "good " * 100


async def test_max_tokens_per_doc_is_applied_where_the_provider_lacks_it() -> None:
    upstream = Upstream()
    ranking = await policy(upstream, cuts_documents=True).rerank(asked("short", LONG, max_tokens_per_doc=21))
    assert upstream.asked[0].documents == ["short", "good " * 4]
    assert ranking.details == {
        "queue_ms": 1,
        "truncated_documents": 1,
        "truncated": [{"index": 1, "characters": 500, "kept": 20}],
    }


async def test_a_tokenizer_keeps_as_much_as_is_allowed(words: str) -> None:
    upstream = Upstream()
    texts = policy(upstream, cuts_documents=True, tokenizer=words)
    await texts.rerank(asked("short", LONG, max_tokens_per_doc=21))
    assert upstream.asked[0].documents == ["short", ("good " * 21).rstrip()]


async def test_it_is_left_to_a_provider_that_has_it() -> None:
    upstream = Upstream()
    request = asked(LONG, max_tokens_per_doc=5)
    await policy(upstream, long_documents="truncate").rerank(request)
    assert upstream.asked == [request]


SAID = {"with its limit": (32, {}), "which is known": (None, {"tokens_per_pair": 32})}


@pytest.mark.parametrize(("tells", "limits"), SAID.values(), ids=SAID)
async def test_a_refusal_is_answered_by_one_more_call_with_cut_texts(tells: int | None, limits: dict[str, int]) -> None:
    upstream = Upstream(longest=32, tells=tells)
    ranking = await policy(upstream, limits, long_documents="truncate").rerank(asked("bad", LONG))
    assert [len(request.documents[1]) for request in upstream.asked] == [500, 20]
    assert TokenBound().count(upstream.asked[1].documents[1]) + TokenBound().count("q") <= 32
    assert ranking.details is not None
    assert [row["index"] for row in ranking.details["truncated"]] == [1]


NOT_MENDED = {
    "as the provider has it": ({}, 32, 32),
    "error": ({"long_documents": "error"}, 32, 32),
    "nothing is known of the limit": ({"long_documents": "truncate"}, 32, None),
}


@pytest.mark.parametrize(("chosen", "longest", "tells"), NOT_MENDED.values(), ids=NOT_MENDED)
async def test_a_refusal_that_stays_one(chosen: dict[str, Any], longest: int, tells: int | None) -> None:
    upstream = Upstream(longest, tells=tells)
    with pytest.raises(TooLong):
        await policy(upstream, **chosen).rerank(asked(LONG))
    assert len(upstream.asked) == 1


async def test_there_is_one_more_call_only() -> None:
    upstream = Upstream(longest=5, tells=32)
    with pytest.raises(TooLong):
        await policy(upstream, long_documents="truncate").rerank(asked(LONG))
    assert len(upstream.asked) == 2


async def test_with_a_tokenizer_limits_are_kept_from_the_start(words: str) -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_query": 3, "tokens_per_pair": 20}, long_documents="truncate", tokenizer=words)
    ranking = await texts.rerank(asked("bad", LONG, query="one two three four"))
    (sent,) = upstream.asked
    assert sent.query == "one two three"
    assert sent.documents == ["bad", ("good " * (20 - 4 - 3)).rstrip()]
    assert ranking.details is not None
    assert ranking.details["truncated_query"] == {"characters": 18, "kept": 13}


@pytest.mark.parametrize(("query", "named"), [("q", "the document at index 1"), ("a " * 30, "the query")])
async def test_what_must_not_be_cut_is_refused_with_its_place(words: str, query: str, named: str) -> None:
    upstream, request = Upstream(), asked("bad", LONG, query=query)
    texts = policy(upstream, {"tokens_per_pair": 40}, long_documents="error", tokenizer=words)
    with pytest.raises(LimitExceeded, match=f"{named} is longer .* tokens") as raised:
        await texts.rerank(request)
    assert (raised.value.status, upstream.asked) == (413, [])
    assert [attempt.error_type for attempt in request.call.recorder.attempts] == ["upstream_rejected"]
    assert "good" not in raised.value.message


async def test_the_best_window_of_a_document_counts() -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_document": 24}, long_documents="chunk_max")
    best_last = "Dull words all here. " * 5 + "good good good"
    ranking = await texts.rerank(asked("good", best_last, "bad", top_n=2))
    assert [(row.index, row.relevance_score) for row in ranking.results] == [(1, 3.0), (0, 1.0)]
    (sent,) = upstream.asked
    assert (sent.top_n, "".join(map(str, sent.documents))) == (None, "good" + best_last + "bad")
    assert ranking.details == {"queue_ms": 1}, "nothing is lost, so nothing is told"


async def test_pairs_keep_their_queries_when_documents_are_divided() -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_document": 12}, long_documents="chunk_max")
    ranking = await texts.rerank(asked("good good good good", "x", queries=["a", "b"], query="a"))
    (sent,) = upstream.asked
    assert sent.queries == ["a"] * (len(sent.documents) - 1) + ["b"]
    assert len(ranking.results) == 2


async def test_scores_of_the_first_stage_go_with_the_windows() -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_document": 12}, long_documents="chunk_max")
    await texts.rerank(asked("good good good good", "x", first_stage_scores=[0.5, None]))
    (sent,) = upstream.asked
    assert sent.first_stage_scores == [0.5] * (len(sent.documents) - 1) + [None]


async def test_an_instruction_takes_its_part_of_a_pair(words: str) -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_pair": 20}, long_documents="truncate", tokenizer=words)
    await texts.rerank(asked(LONG, instruction="find what is good"))
    assert upstream.asked[0].documents == [("good " * (20 - 4 - 1 - 4)).rstrip()]


async def test_passages_are_told_by_their_places_in_the_caller_s_text() -> None:
    class Tells(Upstream):
        async def rerank(self, request: RerankRequest) -> Ranking:
            places = [str(document).find("good") for document in request.documents]
            spans = {index: [Span(start=at, end=at + 4)] for index, at in enumerate(places) if at >= 0}
            return replace(await super().rerank(request), spans=spans)

    text = "Dull words all here. " * 3 + "And then a good one."
    texts = policy(Tells(), {"tokens_per_document": 24}, long_documents="chunk_max")
    ranking = await texts.rerank(asked("good", text, return_spans=True))
    assert ranking.spans is not None
    passages = [(index, text[span.start : span.end]) for index, (span,) in ranking.spans.items() if index == 1]
    assert passages == [(1, "good")]


async def test_windows_are_bounded_and_the_rest_is_told() -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_document": 6}, long_documents="chunk_max")
    ranking = await texts.rerank(asked("good " * 1000))
    assert len(upstream.asked[0].documents) == MAX_WINDOWS_PER_DOCUMENT
    assert ranking.details is not None
    assert ranking.details["truncated"][0]["kept"] == 5 * MAX_WINDOWS_PER_DOCUMENT


async def test_no_room_is_said() -> None:
    with pytest.raises(LimitExceeded, match="leave no room for the document at index 0"):
        await policy(Upstream(), cuts_documents=True).rerank(asked("\U0001f600 smile", max_tokens_per_doc=2))


async def test_pictures_are_left_alone() -> None:
    upstream, picture = Upstream(), ContentParts([{"type": "image_url", "image_url": {"url": "data:," + "x" * 500}}])
    await policy(upstream, cuts_documents=True).rerank(asked(picture, LONG, max_tokens_per_doc=11))
    assert upstream.asked[0].documents == [picture, "good good "]


@settings(max_examples=100, deadline=None)
@given(
    documents=st.lists(st.text("ab \u00fc\u72d0.", min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=6),
    limit=st.integers(4, 40),
    mode=st.sampled_from(["truncate", "chunk_max"]),
)
async def test_no_text_is_over_the_limit_and_what_was_kept_is_whole(documents, limit, mode) -> None:
    upstream = Upstream()
    texts = policy(upstream, {"tokens_per_document": limit}, cuts_documents=True, long_documents=mode)
    ranking = await texts.rerank(asked(*documents, max_tokens_per_doc=limit))
    assert {row.index for row in ranking.results} == set(range(len(documents)))
    bound = TokenBound()
    assert all(bound.count(text) <= limit for text in map(str, upstream.asked[0].documents))
    told = {row["index"]: row for row in (ranking.details or {}).get("truncated", [])}
    kept = [str(text) for text in upstream.asked[0].documents]
    assert all(any(piece in document for document in documents) for piece in kept)
    for index, document in enumerate(documents):
        if bound.count(document) <= limit:
            assert index not in told
            assert document in kept
        elif index in told:
            assert told[index]["characters"] == len(document)
            assert told[index]["kept"] < len(document)


@pytest.mark.parametrize(
    ("documents", "in_a_thread"),
    [
        pytest.param(["\u00e9"] * 8000, True, id="thousands of one letter"),
        pytest.param(["a"] * 8000, True, id="thousands of one ASCII letter"),
        pytest.param(["a" * 100] * 50, False, id="a usual request"),
        pytest.param(["a" * 9000], True, id="a long one"),
    ],
)
async def test_many_documents_are_cut_in_a_thread(monkeypatch, documents: list[str], in_a_thread: bool) -> None:
    """Thousands of one letter hold the loop as long as one of thousands: 80 ms with a tokenizer."""
    sizes: list[int] = []
    run = long_texts.POOL.run

    async def counted(size: int, *arguments: Any) -> Any:
        sizes.append(size)
        return await run(size, *arguments)

    monkeypatch.setattr(long_texts.POOL, "run", counted)
    await policy(Upstream(), cuts_documents=True).rerank(asked(*documents, max_tokens_per_doc=500))
    assert bool(sizes) == in_a_thread


@pytest.mark.parametrize("with_tokenizer", [False, True])
async def test_long_texts_never_hold_the_event_loop(words: str, with_tokenizer: bool) -> None:
    """The work is done in a thread: the loop goes round meanwhile."""
    rounds, done = 0, asyncio.Event()

    async def count() -> None:
        nonlocal rounds
        while not done.is_set():
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    texts = policy(
        Upstream(),
        {"tokens_per_document": 500},
        long_documents="chunk_max",
        cuts_documents=True,
        tokenizer=words if with_tokenizer else None,
    )
    await texts.rerank(asked(*["\u72d0 good " * 20_000] * 5))
    done.set()
    await counting
    assert rounds > 3
