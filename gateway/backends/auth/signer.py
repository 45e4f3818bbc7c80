"""What puts a credential on requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Signer(Protocol):
    """One credential. Whatever it fetches or derives (a token, a signing key) is kept in it, for all requests."""

    @property
    def secrets(self) -> Sequence[str]:
        """What no message may show. It may change from call to call."""
        ...

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """The headers to add to a request that is complete but for them, by their lower-case names.

        Called anew for each attempt, from many requests at once. Raises RerankError where the credential cannot be had.
        """
        ...
