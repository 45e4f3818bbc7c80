"""Requests that a gateway would refuse: those above the limits that it has where nobody sets others."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.capacity.demand import Demand
from gateway.config.limits import RequestLimitSettings

DEVIATIONS = 3
"""Of a body's size: hardly a request is further from the average."""


def warnings(demand: Demand, body_bytes: int) -> Iterator[str]:
    """What to change in `request_limits`.

    Args:
        demand: the traffic.
        body_bytes: of a request, on average.
    """
    limits = RequestLimitSettings()
    if demand.documents > limits.documents:
        yield f"requests of {demand.documents:,} documents are {_refused('documents', limits.documents)}"
    if demand.document_bytes > limits.document_bytes:
        yield f"documents of {demand.document_bytes:,} bytes are {_refused('document_bytes', limits.document_bytes)}"
    if body_bytes > limits.body_bytes:
        yield f"bodies of {body_bytes:,} bytes are {_refused('body_bytes', limits.body_bytes)}"
    elif body_bytes * (1 + DEVIATIONS * demand.spread) > limits.body_bytes:
        yield (
            f"bodies have {body_bytes:,} bytes on average and vary by {demand.spread:.0%}; the largest of them are "
            + _refused("body_bytes", limits.body_bytes)
        )


def _refused(name: str, limit: int) -> str:
    return f"refused by default: raise `request_limits.{name}`, which is {limit:,}, or send less at once"
