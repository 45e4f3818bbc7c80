"""A credential that is sent as it is, in one header: a bearer token (RFC 6750), or a header of the vendor's own."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.transport.base import Response


class ConstantHeader:
    """The same header for every request.

    Args:
        name: in lower case; "" adds no header at all.
        value: what is sent.
        secret: the part of the value that no message may show.
    """

    def __init__(self, name: str = "", value: str = "", secret: str = "") -> None:
        self.secrets = (secret,) if secret else ()
        self._headers = {name: value} if name else {}

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Mapping[str, str]:
        """See Signer."""
        return self._headers

    def forget(self, signed: Mapping[str, str], response: Response) -> bool:
        """Never: there is no other."""
        return False
