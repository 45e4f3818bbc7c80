"""The queue and its batcher: fairness, similar lengths, cancellation, failures, memory.

A fake model, a fake clock, and but for the last tests no threads.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import NotReady, RerankError, TargetFailed
from providers.local import batcher
from providers.local.batcher import Batcher
from providers.local.budget import MAX_RECOVERY_SECONDS, RECOVERY_SECONDS, BatchBudget
from providers.local.queue import MAX_PADDING_SHARE, FairQueue, Job, QueuedInput, next_batch
from providers.local.stats import BatchStats
from providers.local.tokens import Tokens


def waiting(*sizes: int, groups: Sequence[int] = ()) -> list[QueuedInput]:
    marks = [*groups, *[0] * len(sizes)]
    return [QueuedInput(Tokens([number] * size, None, marks[number]), b"") for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "groups", "budget", "expected"),
    [
        pytest.param([], [], 100, [], id="nothing waits"),
        pytest.param([10], [], 100, [10], id="one text"),
        pytest.param([500, 10], [], 100, [500], id="longer than the budget goes alone"),
        pytest.param([10, 10, 10], [], 30, [10, 10, 10], id="filled to the brim"),
        pytest.param([10, 10, 10, 10], [], 30, [10, 10, 10], id="no further than the budget"),
        pytest.param([50, 5, 50], [], 160, [50, 50], id="a short one is left for a batch of its own kind"),
        pytest.param([5, 50, 50], [], 160, [5], id="the leader is served, whatever waits behind it"),
        pytest.param([40, 38, 42], [], 160, [38, 40, 42], id="a little padding is worth it"),
        pytest.param([40, 60, 41], [], 400, [40, 41, 60], id="padding within an eighth of the budget"),
        pytest.param([10, 10, 10], [0, 1, 0], 100, [10, 10], id="groups never mix"),
        pytest.param([90, 90, 10, 10], [], 100, [90], id="nobody from far behind overtakes"),
    ],
)
def test_next_batch(sizes: list[int], groups: list[int], budget: int, expected: list[int]) -> None:
    texts = waiting(*sizes, groups=groups)
    batch = next_batch(texts, budget)
    assert [text.size for text in batch] == expected
    assert not texts or texts[0] in batch


def test_next_batch_reckons_with_the_width_of_a_text() -> None:
    texts = waiting(*[17] * 9)
    assert len(next_batch(texts, 100)) == 5
    assert len(next_batch(texts, 100, width=lambda size: 20)) == 5
    assert len(next_batch(texts, 100, width=lambda size: 32)) == 3, "and what every text is rounded by is no waste"


def test_next_batch_finds_more_of_a_length_in_a_wider_window() -> None:
    texts = waiting(90, 10, 50, 50, 90, 10)
    assert [text.size for text in next_batch(texts, 200)] == [90]
    assert [text.size for text in next_batch(texts, 200, 400)] == [90, 90]


SIZES = st.lists(st.integers(1, 300), max_size=60)


@given(sizes=SIZES, budget=st.integers(1, 600), groups=st.lists(st.integers(0, 1), max_size=60))
def test_next_batch_keeps_its_promises(sizes: list[int], budget: int, groups: list[int]) -> None:
    texts = waiting(*sizes, groups=groups[: len(sizes)])
    seen: list[QueuedInput] = []
    while texts:
        batch = next_batch(texts, budget)
        longest, real = max(text.size for text in batch), sum(text.size for text in batch)
        assert texts[0] in batch
        assert len({text.tokens.group for text in batch}) == 1
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert longest * len(batch) - real <= budget * MAX_PADDING_SHARE
        assert all(sum(text.size for text in texts[: texts.index(text)]) < budget for text in batch)
        seen += batch
        texts = [text for text in texts if text not in batch]
    assert len(seen) == len(sizes)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Echo:
    """A model whose row for a text is its first token. One second a batch; fails as it is told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[list[int]] = []
        self.tokens: list[tuple[int, int]] = []
        self.fails: Callable[[Sequence[Tokens]], Exception | None] = lambda texts: None

    def width(self, size: int) -> int:
        return size

    def launch(self, texts: Sequence[Tokens]) -> Any:
        self.clock.now += 1
        error = self.fails(texts)
        if error is not None:
            raise error
        self.batches.append([text.ids[0] for text in texts])
        self.tokens += [(text.ids[0], len(text.ids)) for text in texts]
        return [text.ids[0] for text in texts]

    def collect(self, handle: Any) -> list[Any]:
        return list(handle)


class Bench:
    """A batcher without its thread, and what became of the jobs."""

    def __init__(self, budget: int = 100, *, ahead: bool = False) -> None:
        self.clock = Clock()
        self.model = Echo(self.clock)
        self.queue = FairQueue(self.clock)
        self.batcher = Batcher(self.model, self.queue, max_batch_tokens=budget, launch_ahead=ahead, clock=self.clock)
        self.ended: list[tuple[Job, RerankError | None]] = []

    def submit(self, name: int, sizes: Sequence[int], priority: int = 0) -> Job:
        """A job whose texts begin with `name` and are distinct, and as long as told."""
        job = Job(lambda job, error: self.ended.append((job, error)))
        texts = [Tokens([name, *[number] * (size - 1)]) for number, size in enumerate(sizes)]
        self.queue.append(job, texts, priority)
        return job

    def run(self, steps: int = 1_000) -> None:
        for _ in range(steps):
            if not self.batcher.step() and not self.queue.tokens:
                return

    def served(self) -> list[int]:
        return [name for batch in self.model.batches for name in batch]


@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "one ahead"])
def test_every_row_reaches_its_place(ahead: bool) -> None:
    bench = Bench(ahead=ahead)
    jobs = [bench.submit(name, [3, 50, 7, 20, 20]) for name in (11, 12, 13)]
    bench.run()
    assert [job.rows for job in jobs] == [[11] * 5, [12] * 5, [13] * 5]
    assert {job for job, error in bench.ended if error is None} == set(jobs)
    assert len(bench.ended) == 3
    assert bench.queue.tokens == 0


def test_one_batch_is_started_before_the_last_is_collected_where_the_device_works_by_itself() -> None:
    bench = Bench(budget=10, ahead=True)
    job = bench.submit(1, [10, 10])
    bench.batcher.step()
    assert (len(bench.model.batches), job.rows) == (1, [None, None])
    bench.batcher.step()
    assert (len(bench.model.batches), job.rows) == (2, [1, None])
    bench.batcher.step()
    assert job.rows == [1, 1]


def test_a_small_request_overtakes_a_huge_one() -> None:
    bench = Bench(budget=100)
    bench.submit(1, [20] * 200)
    bench.run(steps=10)
    small = bench.submit(2, [20] * 5)
    bench.run(steps=2)
    assert small.rows == [2] * 5


def test_equal_requests_advance_together() -> None:
    bench = Bench(budget=20)
    for name in range(4):
        bench.submit(name, [10] * 10)
    bench.run(steps=4)
    counts = [bench.served().count(name) for name in range(4)]
    assert counts == [2, 2, 2, 2]


def test_nobody_starves_while_small_requests_keep_coming() -> None:
    bench = Bench(budget=20)
    huge = bench.submit(0, [10] * 30)
    for name in range(1, 200):
        bench.submit(name, [10])
        bench.run(steps=1)
    assert huge in [job for job, _ in bench.ended]


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        pytest.param(0, 0, [1, 2, 1, 2], id="equal"),
        pytest.param(999, 0, [2, 2, 2, 2], id="the later one is more urgent"),
        pytest.param(0, 999, [1, 1, 1, 1], id="the earlier one is more urgent"),
    ],
)
def test_priority_orders_within_fairness(first: int, second: int, order: list[int]) -> None:
    bench = Bench(budget=10)
    bench.submit(1, [10] * 4, first)
    bench.submit(2, [10] * 4, second)
    bench.run(steps=4)
    assert bench.served() == order
    bench.run()
    assert len(bench.ended) == 2


@given(
    huge=st.lists(st.integers(1, 100), min_size=50, max_size=100),
    small=st.lists(st.integers(1, 100), min_size=1, max_size=5),
    steps=st.integers(0, 20),
)
def test_a_request_waits_for_about_its_own_tokens_and_two_batches(
    huge: list[int], small: list[int], steps: int
) -> None:
    bench = Bench(budget=100)
    bench.submit(1, huge)
    bench.run(steps=steps)
    before = len(bench.model.tokens)
    job = bench.submit(2, small)
    while None in job.rows:
        bench.batcher.step()
    assert sum(size for name, size in bench.model.tokens[before:] if name == 1) <= sum(small) + 2 * 100


def test_identical_texts_are_computed_once_for_all_who_want_them() -> None:
    bench = Bench()
    job, twin = Job(lambda *_: None), Job(lambda *_: None)
    texts = [Tokens([5, 1]), Tokens([6, 1]), Tokens([5, 1])]
    bench.queue.append(job, texts)
    bench.queue.append(twin, texts[:1])
    bench.run()
    assert sorted(bench.served()) == [5, 6]
    assert (job.rows, twin.rows) == ([5, 6, 5], [5])
    assert (job.tokens, twin.tokens) == (4, 2)


def test_who_shares_a_text_with_a_huge_request_does_not_wait_for_it() -> None:
    bench = Bench(budget=10)
    bench.submit(1, [10] * 50)
    quick = Job(lambda *_: None)
    bench.queue.append(quick, [Tokens([1, *[49] * 9])])
    bench.run(steps=2)
    assert quick.rows == [1]


def test_a_cancelled_request_leaves_the_queue_but_not_what_others_want() -> None:
    bench = Bench()
    gone = bench.submit(1, [10, 20, 30])
    stays = Job(lambda job, error: bench.ended.append((job, error)))
    bench.queue.append(stays, [Tokens([1, *[1] * 19])])
    bench.queue.cancel(gone)
    assert bench.queue.tokens == 20
    bench.run()
    assert bench.served() == [1]
    assert [job for job, _ in bench.ended] == [stays]


def test_a_text_asked_for_again_while_its_cancelled_twin_is_computed_can_be_cancelled_too() -> None:
    """A caller that gives up, tries again and gives up again: the engine's thread lives, and nothing is left behind."""
    bench = Bench()
    same = [Tokens([1, 1, 1])]
    gone, again = (Job(lambda job, error: bench.ended.append((job, error))) for _ in range(2))
    bench.queue.append(gone, same)

    def meanwhile(texts: Sequence[Tokens]) -> None:
        bench.model.fails = lambda texts: None
        bench.queue.cancel(gone)
        bench.queue.append(again, same)

    bench.model.fails = meanwhile
    bench.batcher.step()
    bench.queue.cancel(again)
    assert bench.queue.tokens == 0
    last = bench.submit(2, [5])
    bench.run()
    assert bench.ended == [(last, None)]


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["submit", "cancel", "step", "fail", "no memory"]), st.integers(0, 2)), max_size=20
)


@given(actions=ACTIONS, during=ACTIONS, ahead=st.booleans())
def test_whatever_happens_in_whatever_order_each_job_ends_once_with_its_own_rows(
    actions: list[tuple[str, int]], during: list[tuple[str, int]], ahead: bool
) -> None:
    bench = Bench(budget=12, ahead=ahead)
    jobs: list[tuple[Job, list[int]]] = []
    cancelled: set[Job] = set()
    left = list(during)

    def act(what: str, number: int) -> None:
        if what == "submit":
            job = Job(lambda job, error: bench.ended.append((job, error)))
            names = [(number + place) % 4 for place in range(1 + number % 3)]
            jobs.append((job, names))
            bench.queue.append(job, [Tokens([name] * (name + 1)) for name in names], number * 200)
        elif what == "cancel" and jobs:
            job = jobs[number % len(jobs)][0]
            if job not in [ended for ended, _ in bench.ended]:
                cancelled.add(job)
            bench.queue.cancel(job)

    def fails(texts: Sequence[Tokens]) -> Exception | None:
        for what, number in (left.pop() for _ in range(min(2, len(left)))):
            act(what, number)
        what = left.pop()[0] if left else "step"
        return {"fail": ValueError(), "no memory": MemoryError()}.get(what)

    bench.model.fails = fails
    for what, number in actions:
        bench.batcher.step() if what == "step" else act(what, number)
    bench.run()
    assert {job for job, _ in bench.ended} == {job for job, _ in jobs} - cancelled
    assert len({job for job, _ in bench.ended}) == len(bench.ended)
    assert all(error or job.rows == names for job, names in jobs for ended, error in bench.ended if ended is job)
    assert (bench.queue.tokens, bench.queue._by_key, bench.queue._jobs) == (0, {}, set())


def test_a_request_cancelled_before_it_is_tokenised_is_never_queued() -> None:
    bench = Bench()
    job = Job(lambda *_: None)
    bench.queue.cancel(job)
    bench.queue.append(job, [Tokens([1, 2])])
    assert bench.queue.tokens == 0


@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "one ahead"])
def test_a_failed_batch_fails_its_own_callers_and_the_worker_lives(ahead: bool) -> None:
    bench = Bench(budget=30, ahead=ahead)
    bench.model.fails = lambda texts: ValueError("secret text") if texts[0].ids[0] == 1 else None
    bad = bench.submit(1, [30, 30, 30])
    good = bench.submit(2, [30, 30])
    bench.run()
    errors = dict(bench.ended)
    assert isinstance(errors[bad], TargetFailed)
    assert "secret" not in errors[bad].message
    assert errors[good] is None
    assert good.rows == [2, 2]
    assert bench.queue.tokens == 0


def test_rows_that_are_too_few_are_a_failure() -> None:
    bench = Bench()
    bench.model.collect = lambda handle: handle[1:]  # type: ignore[method-assign]  # a broken model
    bench.submit(1, [5, 5])
    bench.run()
    assert isinstance(bench.ended[0][1], TargetFailed)


@pytest.mark.parametrize(
    ("room", "answered"),
    [
        pytest.param(40, True, id="half a batch fits"),
        pytest.param(10, True, id="one text fits"),
        pytest.param(5, False, id="not even one"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(room: int, answered: bool) -> None:
    bench = Bench(budget=80)
    bench.model.fails = lambda texts: MemoryError() if sum(len(text.ids) for text in texts) > room else None
    job = bench.submit(1, [10] * 16)
    bench.run()
    assert (job.rows == [1] * 16) is answered
    assert isinstance(bench.ended[0][1], TargetFailed) is not answered
    assert bench.batcher.max_batch_tokens <= max(10, room)
    assert bench.batcher.alive is False


def out_of_memory(texts: Sequence[Tokens]) -> Exception:
    return MemoryError()


def broken(texts: Sequence[Tokens]) -> Exception:
    return RuntimeError("device-side assert")


def well(texts: Sequence[Tokens]) -> None:
    """Nothing fails."""


DEVICES: dict[str, tuple[Callable[[Sequence[Tokens]], Exception | None], bool]] = {
    "every batch fails": (broken, False),
    "every batch is out of memory, one token too": (out_of_memory, False),
    "one text is poison": (lambda texts: ValueError() if len(texts[0].ids) == 7 else None, True),
    "one text does not fit": (lambda texts: MemoryError() if len(texts[0].ids) == 7 else None, True),
    "nothing fails": (well, True),
}


@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "one ahead"])
@pytest.mark.parametrize(("fails", "healthy"), DEVICES.values(), ids=DEVICES)
def test_a_device_that_fails_every_batch_is_told_from_a_text_that_does(
    fails: Callable[[Sequence[Tokens]], Exception | None], healthy: bool, ahead: bool
) -> None:
    bench = Bench(budget=10, ahead=ahead)
    bench.model.fails = fails
    for _ in range(5):
        bench.submit(1, [7])
        bench.submit(2, [9])
        bench.run()
    assert bench.batcher.healthy is healthy
    assert (len(bench.ended), bench.queue.tokens) == (10, 0)


def test_who_waits_for_a_device_that_fails_is_told_at_once_and_a_probe_finds_it_well_again() -> None:
    bench = Bench(budget=10)
    bench.model.fails = broken
    for name in range(1, 9):
        bench.submit(name, [10])
    bench.batcher.step()
    assert [type(error) for _, error in bench.ended].count(NotReady) == 7
    bench.batcher.probe()
    assert not bench.batcher.healthy
    bench.model.fails = well
    bench.batcher.probe()
    assert bench.batcher.healthy
    job = bench.submit(1, [10])
    bench.run()
    assert job.rows == [1]


def test_the_thread_probes_a_device_that_failed_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "PROBE_SECONDS", 0.001)
    bench = Bench(budget=10)
    failed, probed = threading.Event(), threading.Event()
    seen: list[Sequence[Tokens]] = []

    def fails(texts: Sequence[Tokens]) -> Exception | None:
        seen.append(texts)
        if len(seen) < 5:
            return RuntimeError("lost")
        probed.set()
        return None

    bench.model.fails = fails
    bench.batcher.start()
    bench.queue.append(Job(lambda job, error: failed.set()), [Tokens([1, 2])])
    assert failed.wait(30)
    assert probed.wait(30)
    bench.batcher.close()
    assert bench.batcher.healthy
    assert [len(texts[0].ids) for texts in seen[1:]] == [1] * (len(seen) - 1)


def test_batches_are_as_large_as_before_once_a_passing_out_of_memory_is_over() -> None:
    bench = Bench(budget=80)
    bench.model.fails = lambda texts: MemoryError() if len(texts) > 1 else None
    bench.submit(1, [10] * 16)
    bench.run()
    assert bench.batcher.max_batch_tokens <= 20
    bench.model.fails = well
    for _ in range(5):
        bench.clock.now += MAX_RECOVERY_SECONDS
        bench.submit(2, [10] * 16)
        bench.run()
    assert bench.batcher.max_batch_tokens == 80
    assert len(bench.model.batches[-1]) == 8


BUDGETS: dict[str, tuple[list[tuple[float, int]], float, int]] = {
    "nothing failed": ([], 0, 64),
    "it failed just now": ([(0, 64)], 1, 32),
    "one pause later": ([(0, 64)], RECOVERY_SECONDS, 64),
    "it failed twice at once": ([(0, 64), (0, 32)], 1, 16),
    "it failed twice at once, one pause later": ([(0, 64), (0, 32)], RECOVERY_SECONDS, 32),
    "both halves of one batch failed": ([(0, 64), (0, 32), (0, 32)], 1, 16),
    "it failed again after it recovered": ([(0, 64), (RECOVERY_SECONDS, 64)], 2 * RECOVERY_SECONDS, 32),
    "and recovers after twice the pause": ([(0, 64), (RECOVERY_SECONDS, 64)], 3 * RECOVERY_SECONDS, 64),
    "a batch smaller than the budget": ([(0, 20)], 1, 10),
    "down to one token": ([(0, 2)] * 3, 1, 1),
    "and up from there": ([(0, 2)] * 3, 1e9, 2),
}


@pytest.mark.parametrize(("failures", "now", "tokens"), BUDGETS.values(), ids=BUDGETS)
def test_the_budget_of_a_batch(failures: list[tuple[float, int]], now: float, tokens: int) -> None:
    budget = BatchBudget(64)
    for at, size in failures:
        budget.recover(at)
        budget.shrink(size, at)
    budget.recover(now)
    assert budget.tokens == tokens


def test_a_budget_that_was_whole_for_a_pause_forgets_what_was() -> None:
    budget = BatchBudget(64)
    budget.shrink(64, 0.0)
    now = 0.0
    for _ in range(20):
        now += MAX_RECOVERY_SECONDS
        budget.recover(now)
    budget.shrink(64, now)
    budget.recover(now + RECOVERY_SECONDS)
    assert budget.tokens == 64


def test_the_times_of_a_job_add_up() -> None:
    bench = Bench(budget=10)
    bench.submit(1, [10] * 3)
    job = bench.submit(2, [10] * 2)
    bench.run()
    assert job.compute_seconds == 2
    assert job.queue_seconds == 2


def test_closing_fails_who_still_waits_and_refuses_who_comes() -> None:
    bench = Bench()
    bench.submit(1, [10])
    bench.batcher.close()
    assert isinstance(bench.ended[0][1], NotReady)
    with pytest.raises(NotReady):
        bench.submit(2, [10])


@pytest.mark.parametrize("ahead", [False, True], ids=["one at a time", "one ahead"])
def test_the_thread_serves_what_is_queued_until_it_is_closed(ahead: bool) -> None:
    bench = Bench(budget=10, ahead=ahead)
    ended: queue.SimpleQueue[tuple[Job, RerankError | None]] = queue.SimpleQueue()
    bench.batcher.start()
    for name in (1, 2, 3):  # each wakes a thread that waits, or finds one at work
        job = Job(lambda job, error: ended.put((job, error)))
        bench.queue.append(job, [Tokens([name, number]) for number in range(20)])
        assert ended.get(timeout=30) == (job, None)
        assert job.rows == [name] * 20
    assert bench.batcher.alive
    bench.batcher.close()
    assert not bench.batcher.alive
    assert bench.queue.wait() is False


def test_a_batch_in_flight_when_the_batcher_closes_fails_like_all_that_waits() -> None:
    bench = Bench(budget=10, ahead=True)
    bench.submit(1, [10, 10])
    assert bench.batcher.step(), "one batch is in flight, the other waits"
    bench.batcher.close()
    assert [type(error) for _, error in bench.ended] == [NotReady]


@pytest.mark.parametrize("ahead", [False, True])
def test_how_long_it_has_computed_counts_no_second_twice_and_no_idle_one(ahead: bool) -> None:
    bench, computed = Bench(budget=8, ahead=ahead), 0.0
    for pause in (0.0, 100.0):
        bench.clock.now += pause
        assert bench.batcher.busy_seconds == computed
        start = bench.clock.now
        bench.submit(1, [8, 8, 8])
        while bench.batcher.step() or bench.queue.tokens:
            assert bench.batcher.busy_seconds == computed + bench.clock.now - start
        computed += bench.clock.now - start
    assert bench.batcher.busy_seconds == computed == len(bench.model.batches) == 6


def test_a_batch_that_fails_has_been_computed_too() -> None:
    bench = Bench()
    bench.model.fails = lambda texts: ValueError() if texts[0].ids[0] == 1 else None
    bench.submit(1, [8])
    bench.run()
    assert bench.batcher.busy_seconds == bench.clock.now > 0


def test_statistics_add_up() -> None:
    stats = BatchStats()
    stats.record([10, 6], width=10, seconds=0.5)
    assert (stats.batches, stats.texts, stats.tokens, stats.padding) == (1, 2, 16, 4)
    assert stats.tokens_per_second == 32
    stats.record([8], width=16, seconds=1)
    assert (stats.batches, stats.texts, stats.tokens, stats.padding) == (2, 3, 24, 12)
    assert stats.tokens_per_second == pytest.approx(0.9 * 32 + 0.1 * 8)
    stats.record([8], width=8, seconds=0)
    assert math.isfinite(stats.tokens_per_second)
