"""Key pools: which key is used, which cools down, for how long, and what the log says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from gateway.errors import KeysCooling
from gateway.policy.fallback import Fallback, Step
from gateway.policy.key_pool import KeyedBackend, KeyPool, ProviderKeySettings, choose_key
from gateway.policy.key_state import MAX_MODELS, KeyState
from providers.errors import CredentialsRejected, RateLimited, RerankError, TargetFailed
from providers.types import Ranked, Ranking, RerankRequest

GOOD = Ranking(results=[Ranked(0, 1.0), Ranked(1, 0.5)])


def refused(status: int = 401) -> CredentialsRejected:
    return CredentialsRejected("refused", status=status)


def limited(seconds: float | None) -> RateLimited:
    return RateLimited("slow down", status=429, retry_after=seconds)


def pool(time: Any, **backends: Any) -> KeyPool:
    keys = [KeyedBackend(backend, KeyState(name, 1.0)) for name, backend in backends.items()]
    return KeyPool(keys, "cohere", time.clock)


async def test_a_refused_key_is_taken_out_and_told_once(
    time: Any, scripted: Any, request_with: Any, caplog: Any
) -> None:
    bad, good = scripted([refused()]), scripted([GOOD])
    keys = pool(time, bad=bad, good=good)
    time.chances = [0.0] * 9
    request = request_with()
    for _ in range(3):
        assert await keys.rerank(request) == GOOD
    assert (len(bad.requests), len(good.requests)) == (1, 3)
    assert [record.message for record in caplog.records] == [
        "provider cohere refused its key bad (401); it is out of use until the provider accepts it again"
    ]
    assert [(attempt.status, attempt.error) for attempt in request.call.recorder.attempts] == [
        (401, "key bad: refused")
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
    state.record_rate_limit("m", 0.0, 60.0)
    state.record_rate_limit("m", 1.0, 5.0)
    assert state.until("m") == 60.0


@pytest.mark.parametrize("asked", [301.0, 86400.0, 31536000.0, 1.79e9])
async def test_no_provider_can_rest_a_key_for_longer_than_the_setting(
    time: Any, scripted: Any, request_with: Any, asked: float
) -> None:
    backend = scripted([limited(asked), GOOD])
    keys = KeyPool([KeyedBackend(backend, KeyState("a", 1.0, max_cooldown=20.0))], "cohere", time.clock)
    with pytest.raises(RateLimited):
        await keys.rerank(request_with())
    time.now += 19.9
    with pytest.raises(KeysCooling, match=r"next attempt in 0\.1 s"):
        await keys.rerank(request_with())
    time.now += 0.2
    assert await keys.rerank(request_with()) == GOOD


class ByModel:
    """Answers by model: an error to raise, or GOOD."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.asked: list[str] = []

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.asked.append(request.model)
        if request.model in self.errors:
            raise self.errors[request.model]
        return GOOD

    async def ready(self) -> bool:
        return True


def about(request: RerankRequest, model: str, text: str = "a") -> RerankRequest:
    return replace(request, model=model, documents=[text, "b"])


async def outcome(keys: KeyPool, request: RerankRequest) -> str:
    try:
        await keys.rerank(request)
    except RerankError as error:
        return type(error).__name__
    return "served"


@pytest.mark.parametrize("status", [402, 403, 429, 401])
async def test_what_is_about_one_model_leaves_the_others_alone(time: Any, request_with: Any, status: int) -> None:
    error = limited(60.0) if status == 429 else refused(status)
    backend = ByModel(dear=error)
    keys = pool(time, only=backend)
    for text in "abc":
        await outcome(keys, about(request_with(), "dear", text))
    assert keys.keys[0].state.until("dear") > time.now
    others = [await outcome(keys, about(request_with(), model)) for model in ("cheap", "other")]
    assert others == (["KeysRejected"] * 2 if status == 401 else ["served"] * 2)


REFUSALS: dict[str, tuple[list[str], bool]] = {
    "one request": (["bad 1"], False),
    "one request, sent again and again": (["bad 1"] * 9, False),
    "two requests": (["bad 1", "bad 2"], True),
    "two requests, one served between": (["bad 1", "good", "bad 2"], False),
    "every other request": (["bad 1", "good", "bad 2", "good", "bad 3", "good"], False),
    "the same again, then another": (["bad 1", "bad 1", "bad 2"], True),
}


@pytest.mark.parametrize(("texts", "rests"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("status", [402, 403])
async def test_another_request_must_confirm_a_refusal(
    time: Any, request_with: Any, caplog: Any, status: int, texts: list[str], rests: bool
) -> None:
    class Firewall(ByModel):
        async def rerank(self, request: RerankRequest) -> Ranking:
            if str(request.documents[0]).startswith("bad"):
                raise refused(status)
            return GOOD

    keys = pool(time, only=Firewall())
    for text in texts:
        await outcome(keys, about(request_with(), "m", text))
    assert (keys.keys[0].state.until("m") > time.now) is rests
    assert keys.keys[0].state.rejected is rests
    assert len(caplog.records) == rests
    assert await outcome(keys, about(request_with(), "m", "good")) == ("KeysRejected" if rests else "served")


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_a_sole_key_is_asked_when_nothing_else_is_left(time: Any, request_with: Any, status: int) -> None:
    backend = ByModel(m=limited(60.0) if status == 429 else refused(status))
    keys = pool(time, only=backend)
    route = Fallback([Step(keys)], time.clock)
    for text in "abc":
        with pytest.raises((CredentialsRejected, RateLimited)):
            await route.rerank(about(request_with(), "m", text))
    assert len(backend.asked) == 3
    del backend.errors["m"]
    assert await route.rerank(about(request_with(), "m")) == GOOD
    assert keys.keys[0].state.left(time.now) == (pytest.approx(60.0) if status == 429 else 0.0)
    assert not keys.keys[0].state.rejected


async def test_with_a_fallback_a_resting_key_is_left_alone(time: Any, scripted: Any, request_with: Any) -> None:
    limited_one, spare = ByModel(m=limited(60.0)), scripted([GOOD])
    route = Fallback([Step(pool(time, only=limited_one)), Step(spare)], time.clock)
    for _ in range(5):
        assert await route.rerank(about(request_with(), "m")) == GOOD
    assert len(limited_one.asked) == 1


async def test_of_keys_that_all_rest_the_likeliest_is_asked(time: Any, scripted: Any, request_with: Any) -> None:
    dead, late, soon = scripted([refused()]), scripted([limited(60.0), GOOD]), scripted([limited(9.0), GOOD])
    keys = pool(time, dead=dead, late=late, soon=soon)
    route = Fallback([Step(keys)], time.clock)
    with pytest.raises(RerankError):
        await route.rerank(request_with())
    assert await route.rerank(request_with()) == GOOD
    assert [len(backend.requests) for backend in (dead, late, soon)] == [1, 1, 2]


def test_invented_models_do_not_fill_the_memory() -> None:
    state = KeyState("a", 1.0)
    state.record_rate_limit("used", 0.0, 200.0)
    for number in range(MAX_MODELS + 100):
        state.record_rate_limit(f"invented {number}", 0.0, 100.0)
    assert len(state._models) == MAX_MODELS
    assert state.until("used") == 200.0


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
    chosen = [choose_key(keys, "m", 0.0, step / 1000) for step in range(1000)]
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
    chosen = choose_key(pooled, "m", now, chance)
    assert (chosen is None) == all(until > now for _, until in keys)
    assert chosen is None or chosen.state.cooldown.until <= now


def test_a_key_is_never_shown() -> None:
    assert "sk-very" not in repr(ProviderKeySettings(name="a", key="sk-very-secret"))
    with pytest.raises(ValidationError) as caught:
        ProviderKeySettings(name="a", key="sk-very secret")
    assert "sk-very" not in str(caught.value)
