"""The faulty upstream, and one gateway process in front of it for all cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.faults.cases import Outcome, configuration, outcomes
from tests.faults.server import FaultServer


@pytest.fixture(scope="session")
def faults() -> Iterator[FaultServer]:
    server = FaultServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def seen(faults: FaultServer, start_gateway: Callable[..., Any]) -> dict[tuple[str, str], Outcome]:
    """Every case of the table, asked once."""
    gateway = start_gateway(configuration(faults))
    gateway.wait_until_ready()
    with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client:
        return dict(outcomes(client))
