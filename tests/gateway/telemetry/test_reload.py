"""A new configuration, as the metrics show it: its names become labels, and reloads are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gateway.config.loader import load
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.telemetry import metrics

VENDOR = {"base_url": "http://127.0.0.1:9", "api_key": "k"}


def write(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({"auth": "none", **tree}), encoding="utf-8")


async def test_reloads(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    write(path, {"providers": {"cohere": VENDOR}})
    service = Service(load(path, {}))
    await service.open()
    reloader = Reloader(service, path, lambda: load(path, {}))
    assert service.telemetry.label_allowlist.label("best") == "_other"
    write(path, {"providers": {"jina": VENDOR}, "models": {"best": {"target": "jina/n"}}})
    assert await reloader.reload()
    assert [service.telemetry.label_allowlist.label(name) for name in ("best", "n", "other")] == ["best", "n", "_other"]
    write(path, {"providers": {"unheard-of": {}}})
    assert not await reloader.reload()
    found = service.telemetry.metric_store.read()
    assert found[metrics.RELOADS.name, ("ok",)] == [1.0]
    assert found[metrics.RELOADS.name, ("rejected",)] == [1.0]
    await reloader.aclose()
    await service.aclose()
