"""Every fault a caller can have, against a running gateway: one answer for each request, and nobody else is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.caller_faults import FAULTS, table, tell

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def address(start_gateway: Callable[..., Any]) -> tuple[str, int]:
    gateway = start_gateway({"providers": {"passthrough": {}}})
    gateway.wait_until_ready()
    host, port = gateway.url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.mark.parametrize("name", FAULTS)
def test_the_outcome(name: str, address: tuple[str, int]) -> None:
    assert tell(address, FAULTS[name]) == FAULTS[name].told


def test_the_documentation_has_this_table() -> None:
    assert "\n".join(table()) in OPERATIONS.read_text(encoding="utf-8")
