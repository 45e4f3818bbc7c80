"""What a reload does not survive must not end the watch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, from_tree
from gateway.reload import Reloader
from gateway.service import Service
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
