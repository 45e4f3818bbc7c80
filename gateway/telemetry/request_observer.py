"""To whom the endpoint reports its requests: `Telemetry` in every worker, nobody in the engine process."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Protocol

from gateway.telemetry.exchange import Exchange
from gateway.telemetry.recorder import RequestRecorder
from gateway.telemetry.shadows import ShadowOutcome
from providers.types import Call


class RequestObserver(Protocol):
    """Is told of requests and of reloads."""

    def begin(self, dialect: str, route: str, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Exchange:
        """A request's headers are there. Arguments as in `Telemetry.begin`."""
        ...

    def end(self, exchange: Exchange) -> None:
        """The request is over, answered or not."""
        ...

    def reloaded(self, outcome: str) -> None:
        """A configuration was read again: `ok` if it was taken over, else `rejected`."""
        ...

    def shadowed(self, outcome: ShadowOutcome) -> None:
        """A candidate has ranked an answered request, has failed, or was not asked for want of room."""
        ...


class NullObserver:
    """Reports nothing, so that what is reported elsewhere is not counted twice."""

    def begin(self, dialect: str, route: str, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Exchange:
        """A record that nobody reads but the endpoint."""
        call = Call(request_id, headers={"x-request-id": request_id}, recorder=RequestRecorder())
        return Exchange(dialect, call, monotonic(), route)

    def end(self, exchange: Exchange) -> None:
        """Report nothing."""

    def reloaded(self, outcome: str) -> None:
        """Report nothing."""

    def shadowed(self, outcome: ShadowOutcome) -> None:
        """Report nothing."""
