"""The snippets of docs/clients.md work as they are written: import, call, print."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cases import Gateway

SNIPPETS = os.environ["RERANK_GATEWAY_SNIPPETS"].split()
WITHOUT_A_KEY = {"llama-index-xinference"}
"""Their clients send none."""


@pytest.mark.parametrize("name", SNIPPETS)
def test_it_works_as_it_is_written(name: str, gateway: Gateway) -> None:
    if name in WITHOUT_A_KEY:
        gateway = Gateway(os.environ["RERANK_GATEWAY_OPEN_URL"], "")
    run = subprocess.run(
        [sys.executable, "-c", gateway.snippet(name)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    best = run.stdout.splitlines()[0]
    assert best.startswith(("1 ", "Paris is in France. ")), run.stdout
