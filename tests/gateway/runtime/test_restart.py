"""A reload says which of the changes it cannot make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.runtime.reload import Reloader
from gateway.runtime.restart import keep, settings_to_restart_for
from gateway.runtime.service import Service

BASE: dict[str, Any] = {"providers": {"passthrough": {}}}

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "what a reload can change": ({}, {"request_limits": {"documents": 5}, "models": {"m": "passthrough/x"}}, []),
    "a port": ({"server": {"port": 1}}, {"server": {"port": 2}}, ["server.port"]),
    "several": (
        {"server": {"port": 1, "cors": []}},
        {"server": {"port": 2, "cors": ["https://a"]}, "telemetry": {"logs": {"level": "debug"}}},
        ["server.port", "server.cors", "telemetry.logs.level"],
    ),
    "a section that was not there": ({}, {"server": {"admin": {"port": 2}}}, ["server.admin"]),
    "a store": ({}, {"store": {"url": "redis://h"}}, ["store"]),
    "within a store": (
        {"store": {"url": "redis://a"}},
        {"store": {"url": "redis://a", "when_down": "fail_open"}},
        ["store.when_down"],
    ),
    "a store that is gone": ({"store": {"url": "redis://a"}}, {}, ["store"]),
}


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_which_settings_wait(before: dict[str, Any], after: dict[str, Any], expected: list[str]) -> None:
    old, new = from_tree({**BASE, **before}), from_tree({**BASE, **after})
    assert settings_to_restart_for(old, new) == expected
    kept = keep(new, old)
    assert settings_to_restart_for(old, kept) == []
    assert kept.request_limits == new.request_limits


async def test_each_reload_says_what_still_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(from_tree(BASE))
    await service.open()
    written: list[Config] = []
    reloader = Reloader(service, tmp_path / "gateway.yaml", lambda: written[-1])
    for tree in ({"server": {"port": 9}, "deadline": {"default": 5}}, {"server": {"port": 9}}, {}):
        written.append(from_tree({**BASE, **tree}))
        assert await reloader.reload()
    told = [record.getMessage() for record in caplog.records if "at a restart" in record.getMessage()]
    assert len(told) == 2
    assert all(
        message.endswith("gateway.yaml: these changes take effect at a restart: server.port") for message in told
    )
    await service.aclose()
    await service.telemetry.aclose()
