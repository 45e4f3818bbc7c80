"""Active checks tell the breakers, and say in the log when the answer changes."""

from __future__ import annotations

from typing import Any

from gateway.policy.breaker import BreakerSettings, BreakerState
from gateway.policy.health_check import HealthCheck, HealthCheckSettings


async def test_bad_ejects_and_good_brings_back(time: Any, caplog: Any) -> None:
    answers = [True, False, False, True]
    breaker = BreakerState(BreakerSettings())

    async def ask() -> bool:
        return answers.pop(0)

    settings = HealthCheckSettings(url="http://upstream/health")
    check = HealthCheck("vllm", settings, ask, lambda: [breaker], time.clock)
    seen = []
    for _ in range(4):
        await check.check()
        seen.append(breaker.ejected)
    assert seen == [False, True, True, False]
    assert [record.message for record in caplog.records] == [
        "provider vllm fails its health check",
        "provider vllm passes its health check",
    ]
