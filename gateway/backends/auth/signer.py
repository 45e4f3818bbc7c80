"""What puts a credential on requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.transport.base import Response


class Signer(Protocol):
    """One credential. Whatever it fetches or derives (a token, a signing key) is kept in it, for all requests."""

    @property
    def secrets(self) -> Sequence[str]:
        """What no message may show. It may change from call to call."""
        ...

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Mapping[str, str]:
        """The headers to add to a request that is complete but for them, by their lower-case names.

        Called anew for each attempt, from many requests at once; never blocks the event loop. It may wait for the
        credential until the deadline, in seconds of `time.monotonic()`. Raises RerankError where it cannot be had.
        """
        ...

    def forget(self, signed: Mapping[str, str], response: Response) -> bool:
        """The target refused (401, 403) a request with these headers of `sign`.

        True if that was about a credential that may have ended, and signing again gives another one.
        """
        ...
