"""What a reload does not survive must not end the watch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.runtime.reload import SETTLE_SECONDS, Reloader
from gateway.runtime.service import Service
from providers.errors import NotReady


@pytest.mark.parametrize("error", [ValueError("not foreseen"), OSError("no file"), NotReady("no model")], ids=repr)
async def test_whatever_goes_wrong_the_configuration_stays(tmp_path: Path, caplog: Any, error: Exception) -> None:
    service = Service(from_tree({"providers": {"passthrough": {}}}))
    await service.open()

    def read() -> Config:
        raise error

    before = service.routes
    assert not await Reloader(service, tmp_path / "gateway.yaml", read).reload()
    assert service.routes is before
    assert str(error) in caplog.text
    await service.aclose()
    await service.telemetry.aclose()


async def test_a_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    service = Service(from_tree({"providers": {"passthrough": {}}}))
    await service.open()
    path = tmp_path / "gateway.yaml"
    path.write_text("")
    found: list[str] = []

    def read() -> Config:
        found.append(path.read_text())
        return service.config

    reloading = asyncio.create_task(Reloader(service, path, read).reload(even_if_equal=False))
    for part in ("providers:\n", "  passthrough:\n", "    timeout: 5\n"):
        await asyncio.sleep(SETTLE_SECONDS / 5)
        with path.open("a") as file:
            file.write(part)
    await reloading
    assert found == ["providers:\n  passthrough:\n    timeout: 5\n"]
    await service.aclose()
    await service.telemetry.aclose()
