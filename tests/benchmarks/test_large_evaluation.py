"""The benchmark of a large evaluation runs, on a small one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_simulated_answers_are_evaluated_without_asking_anybody() -> None:
    sizes = ["--queries", "40", "--documents", "10", "--models", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.evaluation", *sizes],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "calls" not in done.stderr  # all answers were there
    assert re.search(r"^own/m1 +0\.\d{4} ", done.stdout, re.M)
    assert re.search(r"40 queries x 10 documents x 2 models: \d+ s of CPU, \d+ MB", done.stdout)
