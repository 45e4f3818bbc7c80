"""What was measured: the costs that a plan is made of, from a file that `make docs` derives from the measurements.

docs/capacity.md says where each of them comes from, and how to measure your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class Costs(Struct, frozen=True, forbid_unknown_fields=True):
    """CPU time of one core, in microseconds unless the name says nanoseconds.

    Attributes:
        request_us: of a gateway for one request, without its bytes, when a worker always has something to do.
        byte_ns: for each byte of the request's body.
        wake_us: what a request costs besides that finds its worker idle.
        cold_us: what it costs besides that where the worker was idle for long.
        cool_us: how soon that is, by the clock: a share of 1 - exp(-idle / cool_us) of it is due.
        store_call_us: of a gateway for one call of the store.
        valkey_call_us: of Valkey for one such call.
        memory_document_us, shared_document_us: of a gateway for each document that the cache, in its own memory or in
            the store, looks up and keeps.
        engines: documents that one core scores in a second, by the name of the measured engine.
    """

    request_us: float
    byte_ns: float
    wake_us: float
    cold_us: float
    cool_us: float
    store_call_us: float
    valkey_call_us: float
    memory_document_us: float
    shared_document_us: float
    engines: Mapping[str, float]


@cache
def shipped() -> Costs:
    """The costs that come with this package."""
    return msgspec.json.decode((files("gateway.capacity") / "costs.json").read_bytes(), type=Costs)
