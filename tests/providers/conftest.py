"""What the adapters' tests share: recorded-shape bodies and a request to vary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.types import RerankRequest

WIRE = Path(__file__).parent.parent / "wire"


@pytest.fixture(scope="session")
def wire() -> Callable[[str], bytes]:
    """The body of `tests/wire/<path>.json`."""
    return lambda path: (WIRE / f"{path}.json").read_bytes()


@pytest.fixture(scope="session")
def asked() -> Callable[..., RerankRequest]:
    """A request for three documents, with the fields that a case sets."""

    def request(**fields: Any) -> RerankRequest:
        given = {"model": "a-model", "query": "how long does a tube last", "documents": ["tubes", "helmets", "sealant"]}
        return RerankRequest(**{**given, **fields})

    return request
