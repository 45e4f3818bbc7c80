"""Key pools: which key is used, which cools down, for how long, and what the log says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.policy.key_pool import KeyedBackend, KeyPool, KeyState, ProviderKeySettings, choose_key
from providers.errors import CredentialsRejected, RateLimited, TargetFailed
from providers.types import Ranked, Ranking

GOOD = Ranking(results=[Ranked(0, 1.0), Ranked(1, 0.5)])


def refused(status: int = 401) -> CredentialsRejected:
    return CredentialsRejected("refused", status=status)


def limited(seconds: float | None) -> RateLimited:
    return RateLimited("slow down", status=429, retry_after=seconds)


def pool(time: Any, **backends: Any) -> KeyPool:
    keys = [KeyedBackend(backend, KeyState(name, 1.0)) for name, backend in backends.items()]
    return KeyPool(keys, "cohere", time.clock)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_refused_key_is_taken_out_and_told_once(
    time: Any, scripted: Any, request_with: Any, caplog: Any, status: int
) -> None:
    bad, good = scripted([refused(status)]), scripted([GOOD])
    keys = pool(time, bad=bad, good=good)
    time.chances = [0.0] * 9
    request = request_with()
    for _ in range(3):
        assert await keys.rerank(request) == GOOD
    assert (len(bad.requests), len(good.requests)) == (1, 3)
    assert [record.message for record in caplog.records] == [
        f"provider cohere refused its key bad ({status}); it is out of use until the provider accepts it again"
    ]
    assert [(attempt.status, attempt.error) for attempt in request.call.recorder.attempts] == [
        (status, "key bad: refused")
    ]


async def test_a_refused_key_is_probed_later_and_told_when_it_is_back(
    time: Any, scripted: Any, request_with: Any, caplog: Any
) -> None:
    keys = pool(time, only=scripted([refused(), refused(), GOOD]))
    for later in (0, 29, 2, 59, 2):
        time.now += later
        if later == 2 and time.now > 1090:
            assert await keys.rerank(request_with()) == GOOD
        else:
            with pytest.raises(CredentialsRejected):
                await keys.rerank(request_with())
    assert len(caplog.records) == 2
    assert caplog.records[1].message == "provider cohere accepts its key only again"


async def test_429_rests_that_key_alone_for_as_long_as_asked(time: Any, scripted: Any, request_with: Any) -> None:
    first, second = scripted([limited(7.0), GOOD]), scripted([GOOD])
    keys = pool(time, first=first, second=second)
    time.chances = [0.0] * 99
    await keys.rerank(request_with())
    time.now += 6.9
    await keys.rerank(request_with())
    assert (len(first.requests), len(second.requests)) == (1, 2)
    time.now += 0.2
    await keys.rerank(request_with())
    assert len(first.requests) == 2


async def test_without_retry_after_nothing_rests(time: Any, scripted: Any, request_with: Any) -> None:
    backend = scripted([limited(None), GOOD])
    keys = pool(time, only=backend)
    with pytest.raises(RateLimited, match="slow down"):
        await keys.rerank(request_with())
    assert await keys.rerank(request_with()) == GOOD


async def test_a_shorter_rest_never_replaces_a_longer(time: Any) -> None:
    state = KeyState("a", 1.0)
    state.record_rate_limit(0.0, 60.0)
    state.record_rate_limit(1.0, 5.0)
    assert state.cooldown.until == 60.0


async def test_all_cooling_down_fails_at_once_and_names_the_next_attempt(
    time: Any, scripted: Any, request_with: Any
) -> None:
    first, second = scripted([limited(9.0)]), scripted([limited(4.0)])
    keys = pool(time, first=first, second=second)
    with pytest.raises(RateLimited):
        await keys.rerank(request_with())
    with pytest.raises(RateLimited, match=r"is rate limiting us; next attempt in 4\.0 s") as caught:
        await keys.rerank(request_with())
    assert caught.value.retry_after == pytest.approx(4.0)
    assert caught.value.status == 429
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_all_refused_names_what_to_check(time: Any, scripted: Any, request_with: Any) -> None:
    keys = pool(time, first=scripted([refused()]), second=scripted([refused()]))
    with pytest.raises(CredentialsRejected, match="refused"):
        await keys.rerank(request_with())
    with pytest.raises(CredentialsRejected, match='check the keys configured for "cohere"'):
        await keys.rerank(request_with())


async def test_other_errors_are_no_matter_of_keys(time: Any, scripted: Any, request_with: Any) -> None:
    other = scripted([GOOD])
    keys = pool(time, first=scripted([TargetFailed("x", status=500)]), other=other)
    time.chances = [0.0]
    with pytest.raises(TargetFailed):
        await keys.rerank(request_with())
    assert other.requests == []


def test_weights() -> None:
    keys = [KeyedBackend(None, KeyState(name, weight)) for name, weight in [("a", 1.0), ("b", 3.0)]]  # type: ignore[arg-type]
    chosen = [choose_key(keys, 0.0, step / 1000) for step in range(1000)]
    assert Counter(key.state.name for key in chosen if key) == {"a": 250, "b": 750}


@given(
    st.lists(st.tuples(st.floats(min_value=0.01, max_value=100), st.floats(0, 20)), min_size=1, max_size=8),
    st.floats(min_value=0, max_value=1, exclude_max=True),
    st.floats(0, 20),
)
def test_a_key_that_cools_down_is_never_chosen(keys: list[tuple[float, float]], chance: float, now: float) -> None:
    pooled = []
    for weight, until in keys:
        state = KeyState("k", weight)
        state.cooldown.until = until
        pooled.append(KeyedBackend(None, state))  # type: ignore[arg-type]
    chosen = choose_key(pooled, now, chance)
    assert (chosen is None) == all(until > now for _, until in keys)
    assert chosen is None or chosen.state.cooldown.until <= now


def test_a_key_is_never_shown() -> None:
    assert "sk-very" not in repr(ProviderKeySettings(name="a", key="sk-very-secret"))
    with pytest.raises(ValidationError) as caught:
        ProviderKeySettings(name="a", key="sk-very secret")
    assert "sk-very" not in str(caught.value)
