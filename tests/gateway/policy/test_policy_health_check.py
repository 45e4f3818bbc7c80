"""Active checks tell the breakers, and say in the log when the answer changes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.policy.breaker import BreakerSettings, BreakerState
from gateway.policy.health_check import HealthCheck, HealthCheckSettings


@pytest.mark.parametrize(
    ("answers", "ejected", "told"),
    [
        pytest.param([True, False, False, True], [0, 0, 1, 0], ["fails", "passes"], id="two failures in a row"),
        pytest.param([False, True, False, True], [0, 0, 0, 0], [], id="never two in a row"),
        pytest.param([False, None, None, False], [0, 0, 0, 1], ["fails"], id="checks that could not be sent"),
        pytest.param([False, False, None, None], [0, 1, 1, 1], ["fails"], id="not sent: it stays as it is"),
        pytest.param([False, False, False, False], [0, 1, 1, 1], ["fails"], id="told once"),
    ],
)
async def test_bad_ejects_and_good_brings_back(
    time: Any, caplog: Any, answers: list[bool | None], ejected: list[int], told: list[str]
) -> None:
    answers = list(answers)
    breaker = BreakerState(BreakerSettings())

    async def ask() -> bool | None:
        return answers.pop(0)

    settings = HealthCheckSettings(url="http://upstream/health")
    check = HealthCheck("vllm", settings, ask, lambda: [breaker], time.clock)
    seen = []
    for _ in range(4):
        await check.check()
        seen.append(breaker.ejected)
    assert seen == list(map(bool, ejected))
    assert [record.message for record in caplog.records] == [f"provider vllm {word} its health check" for word in told]
