"""What the tests of plans share."""

from __future__ import annotations

from functools import partial

import pytest

from gateway.capacity import pools
from gateway.capacity.simulation import simulate


@pytest.fixture(autouse=True)
def _few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that is quick: what is checked here does not depend on its last percents."""
    monkeypatch.setattr(pools, "simulate", partial(simulate, requests=20_000))
