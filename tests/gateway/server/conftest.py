"""A gateway process that is ready, for the tests of processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def start_ready(start_gateway: Callable[..., Any]) -> Callable[..., Any]:
    """As `start_gateway`, but returns once the process has said that it is ready."""

    def start(settings: dict[str, Any] | None, *arguments: str, **options: Any) -> Any:
        process = start_gateway(settings, *arguments, **options)
        process.wait_until_ready()
        return process

    return start
