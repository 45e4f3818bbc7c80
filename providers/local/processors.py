"""Which processors the engine may use, and how its threads wait for each other. Decided before torch is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

WAIT_VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""What OpenMP reads when torch is imported: the standard's variable, and that of LLVM's and Intel's implementations."""

SPIN_VARIABLE = "GOMP_SPINCOUNT"
THREADS_VARIABLE = "OMP_NUM_THREADS"

_V2_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_V1_MOUNTS = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct,cpu")


def wait_passively(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have OpenMP's threads sleep while they wait for one another, unless the operator has decided how they wait.

    By default they spin. Where other work wants the processors too, a spinning thread takes them from the one that it
    waits for (figures in docs/local-engine.md). Does nothing once torch is imported.
    """
    if not any(name in environ for name in (*WAIT_VARIABLES, SPIN_VARIABLE)):
        environ.update(WAIT_VARIABLES)


def thread_count(default: int, environ: Mapping[str, str] = os.environ) -> int:
    """Compute threads: torch's own choice, but no more than there are processors for this process.

    Args:
        default: torch's choice, one for each core of the machine; it knows nothing of containers' quotas.
        environ: with OMP_NUM_THREADS in it the operator has chosen, and torch has read it.
    """
    return default if THREADS_VARIABLE in environ else min(default, available_processors())


def available_processors(root: Path = Path("/")) -> int:
    """Processors that this process may use: by affinity, and by the quotas of its control groups. At least 1.

    Args:
        root: of the file system with /proc and /sys.
    """
    # A part of a processor is left to the event loop and the tokenizers: a thread too many would be stopped by the
    # kernel in the middle of each batch, and all others would wait for it.
    return max(1, min([_affinity(), *(int(quota) for quota in _quotas(root))]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """The limits, in processors, of this process's control groups and of all that they are in."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        is_v2 = number == "0" and not controllers
        if is_v2 or "cpu" in controllers.split(","):
            for mount in _V2_MOUNTS if is_v2 else _V1_MOUNTS:
                yield from _quotas_up(root / mount, path)


def _quotas_up(mount: Path, path: str) -> Iterator[float]:
    # A container may see its own group as the mount, and the path as the host has it: then most of these are not there.
    names = [name for name in path.split("/") if name not in ("", "..")]
    for depth in range(len(names) + 1):
        folder = mount.joinpath(*names[:depth])
        quota, period = _v2_limit(folder) or _v1_limit(folder) or (0, 0)
        if quota > 0 and period > 0:
            yield quota / period


def _v2_limit(folder: Path) -> tuple[int, int] | None:
    """Microseconds of processor time in a period, and the period; None without a limit."""
    parts = _read(folder / "cpu.max").split()
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdecimal, parts)) else None


def _v1_limit(folder: Path) -> tuple[int, int] | None:
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return (int(quota), int(period)) if quota.isdecimal() and period.isdecimal() else None  # The quota is -1 for none.


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, ValueError):
        return ""
