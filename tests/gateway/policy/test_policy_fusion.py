"""Fusion: how long its members may take, and that what they ranked in time is answered."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from gateway import blocking
from gateway.policy.clock import Clock
from gateway.policy.fusion import RESULT_BYTES, Fusion
from gateway.policy.members import Member
from gateway.telemetry.recorder import RequestRecorder
from providers.errors import TargetTimeout
from providers.types import Call, Ranked, Ranking, RerankRequest


class Prompt:
    """Ranks every document at once."""

    async def rerank(self, request: RerankRequest) -> Ranking:
        count = len(request.documents)
        return Ranking(results=[Ranked(index, 1 - index / count) for index in range(count)], provider="prompt")

    async def ready(self) -> bool:
        return True


class Incoming(Prompt):
    """Stands for the order in which the documents came."""


class Hanging:
    """Takes all the time that it is given."""

    def __init__(self, time: Any) -> None:
        self._time = time
        self.given: float | None = None

    async def rerank(self, request: RerankRequest) -> Ranking:
        assert request.call.deadline is not None
        self.given = request.call.deadline - self._time.now
        self._time.now = request.call.deadline
        raise TargetTimeout("no complete answer in time")

    async def ready(self) -> bool:
        return True


def fused(members: list[Any], require: int, clock: Clock) -> Fusion:
    named = [Member(f"p/{place}", each, isinstance(each, Incoming)) for place, each in enumerate(members)]
    return Fusion("both", named, [1.0] * len(members), "rrf", require, lambda ranking: ranking, clock)


def asked(documents: int, deadline: float | None) -> RerankRequest:
    call = Call(id="1", deadline=deadline, recorder=RequestRecorder())
    return RerankRequest(model="both", query="q", documents=["d"] * documents, call=call)


MANY = blocking.INLINE_BYTES // RESULT_BYTES + 1


@pytest.mark.parametrize("documents", [10, MANY], ids=["few", "so many that a thread fuses them"])
async def test_a_member_that_hangs_leaves_time_for_an_answer(time: Any, documents: int) -> None:
    time.now = monotonic()
    deadline, hanging = time.now + 60.0, Hanging(time)
    ranking = await fused([Prompt(), hanging], 1, time.clock).rerank(asked(documents, deadline))
    assert len(ranking.results) == documents
    assert hanging.given == pytest.approx(54.0)
    assert deadline - time.now == pytest.approx(6.0)
    assert [each.get("error_type") for each in (ranking.details or {})["members"]] == [None, "upstream_timeout"]


@pytest.mark.parametrize(
    ("other", "require"), [(Prompt, 2), (Incoming, 1)], ids=["as all are required", "as it is the only model"]
)
async def test_a_member_that_cannot_be_spared_has_all_the_time(time: Any, other: type[Prompt], require: int) -> None:
    hanging = Hanging(time)
    with pytest.raises(TargetTimeout):
        await fused([other(), hanging], require, time.clock).rerank(asked(10, time.now + 60.0))
    assert hanging.given == pytest.approx(60.0)


@pytest.mark.parametrize("require", [1, 2])
async def test_what_members_ranked_just_in_time_is_not_lost(require: int) -> None:
    clock = Clock(now=monotonic)
    ranking = await fused([Prompt(), Prompt()], require, clock).rerank(asked(MANY, monotonic()))
    assert len(ranking.results) == MANY


async def test_without_a_deadline_nothing_is_shared_out() -> None:
    ranking = await fused([Prompt(), Prompt()], 1, Clock(now=monotonic)).rerank(asked(MANY, None))
    assert len(ranking.results) == MANY
