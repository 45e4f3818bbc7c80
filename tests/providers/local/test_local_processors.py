"""Threads by what a container may use, and how they wait: decided before torch is imported, or by the operator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from providers.local import processors

ROOT = Path(__file__).parents[3]
V2 = "0::/\n"
V1 = "4:memory:/x\n3:cpu,cpuacct:/docker/abc\n0::/\n"

MACHINES: dict[str, tuple[int, dict[str, str], int]] = {
    "no control groups at all": (8, {}, 8),
    "affinity alone": (3, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, 3),
    "v2, two of eight": (8, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
    "v2, a part is left to others": (8, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
    "v2, less than one": (8, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
    "v2, of the group that ours is in": (
        8,
        {
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "400000 100000\n",
        },
        4,
    ),
    "v2, a quota above the affinity": (2, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "800000 100000\n"}, 2),
    "v2 beside v1": (8, {"proc/self/cgroup": V1, "sys/fs/cgroup/unified/cpu.max": "300000 100000\n"}, 3),
    "v1, the path as the host has it": (
        8,
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "v1, under both controllers' name": (
        8,
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "10000\n",
        },
        5,
    ),
    "v1 without a limit": (
        8,
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        8,
    ),
    "files of nonsense": (4, {"proc/self/cgroup": "??\n0::\n", "sys/fs/cgroup/cpu.max": "a b c\n"}, 4),
}


@pytest.mark.parametrize(("affinity", "files", "expected"), MACHINES.values(), ids=MACHINES.keys())
def test_available_processors(
    affinity: int, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="ascii")
    assert processors.available_processors(tmp_path) == expected


WAITS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing is set": ({}, {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}),
    "the policy is the operator's": ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    "GNU's own variable": ({"GOMP_SPINCOUNT": "1000"}, {"GOMP_SPINCOUNT": "1000"}),
    "LLVM's own variable": ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME": "200"}),
}


@pytest.mark.parametrize(("before", "after"), WAITS.values(), ids=WAITS.keys())
def test_how_threads_wait(before: dict[str, str], after: dict[str, str]) -> None:
    environ = dict(before)
    processors.wait_passively(environ)
    assert environ == after


THREADS: dict[str, tuple[int, int, dict[str, str], int]] = {
    "torch's choice where it is the least": (4, 8, {}, 4),
    "a container's quota": (64, 2, {}, 2),
    "the operator's choice": (16, 2, {"OMP_NUM_THREADS": "16"}, 16),
}


@pytest.mark.parametrize(("default", "available", "environ", "expected"), THREADS.values(), ids=THREADS.keys())
def test_threads(
    default: int, available: int, environ: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "available_processors", lambda: available)
    assert processors.thread_count(default, environ) == expected


LOAD = """
from providers.adapters.local import PROVIDER
from providers.spec import LocalModel
try:
    PROVIDER.open(LocalModel(name="m", path="/no/such/folder"))
except Exception as error:
    assert "does not exist" in str(error), error
import torch
"""


def test_openmp_sees_it_before_torch_is_there(tmp_path: Path) -> None:
    """libgomp says at its start what it has read."""
    names = (*processors.WAIT_VARIABLES, processors.SPIN_VARIABLE)
    environ = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=ROOT,
        env={**environ, "OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this build of torch has an OpenMP that does not say what it has read")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
