"""Tests with real client packages against a running gateway; `make test-clients` runs them, each group of packages in a
virtual environment of its own. Elsewhere there is nothing to collect here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

GATEWAY = "RERANK_GATEWAY_URL"

if GATEWAY not in os.environ:
    collect_ignore_glob = ["*"]


def pytest_generate_tests(metafunc: Any) -> None:
    """The shared cases run once for each client of a file's table."""
    if "client" in metafunc.fixturenames:
        table = metafunc.module.CLIENTS
        metafunc.parametrize("client", table.values(), ids=list(table))


@pytest.fixture
def gateway() -> Any:
    """The running gateway, with a key that it knows."""
    from cases import Gateway

    return Gateway(os.environ[GATEWAY], os.environ["RERANK_GATEWAY_KEY"])
