"""A gateway process that is ready, for the tests of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The protocol is tested on both kinds of event loop that the gateway runs on."""
    standard = {"asyncio": asyncio.new_event_loop}
    return {**standard, "uvloop": uvloop.new_event_loop} if item.path.stem == "test_protocol" else standard


@pytest.fixture(scope="session")
def start_ready(start_gateway: Callable[..., Any]) -> Callable[..., Any]:
    """As `start_gateway`, but returns once the process has said that it is ready."""

    def start(settings: dict[str, Any] | None, *arguments: str, **options: Any) -> Any:
        process = start_gateway(settings, *arguments, **options)
        process.wait_until_ready()
        return process

    return start
