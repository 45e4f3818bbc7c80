"""Signal a gateway at many moments of its start, load and work: its status, its last words, and how long it takes.

    python -m benchmarks.stop_signals --tries 60 --workers 1

Moments are spread evenly from the first in which the gateway's own code hears signals (before that, Python reads its
start-up files) to `--until`, by which the built-in local model is loaded. SIGINT must end it with 130, SIGTERM with 0.
Linux only.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

EXPECTED_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 0}
BAD_WORDS = ("Traceback", "terminate called", "Fatal", "Exception ignored", "leaked", "Aborted")
GIVE_UP_SECONDS = 60.0


class Stop(NamedTuple):
    """What became of one try.

    Attributes:
        moment: seconds from the first in which signals are heard to the signal.
        number: of the signal.
        status: the exit status.
        seconds: from the signal to the end.
        words: which of BAD_WORDS it printed.
        leftovers: temporary folders that it left, and processes of its group that live on.
    """

    moment: float
    number: signal.Signals
    status: int
    seconds: float
    words: list[str]
    leftovers: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether it ended with the right status, and left nothing."""
        return self.status == EXPECTED_STATUS[self.number] and not self.words and not self.leftovers


def stops(tries: int, workers: int, until: float) -> Iterator[Stop]:
    """Try so many times, with SIGINT and SIGTERM by turns."""
    for count in range(tries):
        moment = until * count / max(1, tries - 1)
        yield stop_at(moment, (signal.SIGINT, signal.SIGTERM)[count % 2], workers)


def stop_at(moment: float, number: signal.Signals, workers: int) -> Stop:
    """Start a gateway with the built-in model, and signal it at that moment."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        temporary = Path(folder, "tmp")
        temporary.mkdir()
        with output.open("wb") as file:
            command = [sys.executable, "-m", "gateway", "serve", "--port", "0", "--workers", str(workers)]
            environ = {**os.environ, "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environ, start_new_session=True
            )
            while not _hears_signals(process.pid):
                time.sleep(0.001)
            time.sleep(moment)
            signalled = time.monotonic()
            process.send_signal(number)
            status = process.wait(GIVE_UP_SECONDS)
            seconds = time.monotonic() - signalled
        text = output.read_text("utf-8", errors="replace")
        left = [path.name for path in temporary.glob("rerank-gateway*")] + _group(process.pid)
        return Stop(moment, number, status, seconds, [word for word in BAD_WORDS if word in text], left)


def _hears_signals(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)


def _group(session: int) -> list[str]:
    """Processes of that session which still run half a second later."""
    time.sleep(0.5)
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", errors="replace").rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(command[-60:])
    return found


def main() -> int:
    """Print each try that was not clean or took more than a second, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--until", type=float, default=12.0, help="seconds after the start, for the last signal")
    options = parser.parse_args()
    seen = []
    for stop in stops(options.tries, options.workers, options.until):
        seen.append(stop)
        if not stop.is_clean or stop.seconds > 1.0:
            print(stop, flush=True)
    slowest = sorted(stop.seconds for stop in seen)
    statuses = Counter(f"{stop.number.name} {stop.status}" for stop in seen)
    print(f"{sum(stop.is_clean for stop in seen)} of {len(seen)} clean; {dict(statuses)}")
    print(f"seconds: median {slowest[len(slowest) // 2]:.2f}, slowest {slowest[-1]:.2f}", end="; ")
    print(f"{sum(seconds > 1.0 for seconds in slowest)} took more than a second")
    return 0 if all(stop.is_clean for stop in seen) else 1


if __name__ == "__main__":
    sys.exit(main())
