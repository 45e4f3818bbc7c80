"""How the gateway proves to a provider who it is: adapters declare it as data, one object per credential does it.

A new way (signatures over the request, tokens that are fetched and expire) is a file with its Signer, and a line here.
"""

from __future__ import annotations

from gateway.backends.auth.aws import AwsSigner
from gateway.backends.auth.constant import ConstantHeader
from gateway.backends.auth.google import GoogleSigner
from gateway.backends.auth.signer import Signer
from providers.spec import Auth, AwsSignature, Bearer, GoogleToken, Header

__all__ = ["Signer", "open_signer"]


def open_signer(auth: Auth, key: str | None) -> Signer:
    """What signs with that key; without one, or where the adapter sends none, it adds nothing."""
    match auth:
        case Bearer() if key:
            return ConstantHeader("authorization", f"Bearer {key}", key)
        case Header(name, scheme) if key:
            return ConstantHeader(name.lower(), f"{scheme} {key}".lstrip(), key)
        case AwsSignature():
            return AwsSigner(auth)
        case GoogleToken():
            return GoogleSigner(auth)
        case _:
            return ConstantHeader()
