"""AWS Signature Version 4, by botocore's own signer, with whatever botocore's chain of credentials finds.

The chain (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html, 2026-11) reads variables,
files, and the services that hand out roles. It blocks, and so runs in a thread. botocore renews temporary credentials
when it is asked for them, and gives none that end within ten minutes; so it is asked again every minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gateway import blocking
from gateway.backends.auth.renewal import Lease, Renewal
from gateway.transport.base import Response
from providers.errors import CredentialsRejected, Unreachable
from providers.spec import AwsSignature

ASK_AGAIN_SECONDS = 60.0
GOOD_SECONDS = 10 * 60.0
"""For how long botocore's credentials are good at least: it renews them before."""

_SIGNED = frozenset({"content-type", "host"})
"""Headers that are signed, beside `x-amz-*`: what a proxy on the way may change or add must not break a signature."""

_ENDED = ("ExpiredToken", "UnrecognizedClient", "InvalidClientTokenId")
"""How AWS calls the refusal of a credential that has ended, in `x-amzn-errortype`."""

Chain = Callable[[], Any]
"""Gives botocore's credentials, or None where there are none. Blocks."""


class AwsSigner:
    """Signs with one set of AWS credentials.

    Args:
        auth: for which service and region.
        chain: where the credentials are from.
        now: see Renewal.
    """

    def __init__(self, auth: AwsSignature, chain: Chain | None = None, now: Callable[[], float] = time.time) -> None:
        self._auth = auth
        self._chain = chain or partial(default_chain, auth.profile)
        self._now = now
        self._credentials: Any = None
        self._renewal = Renewal(self._fetch, "the credentials of AWS", now)

    @property
    def secrets(self) -> list[str]:
        """See Signer."""
        keys = self._renewal.current
        return [] if keys is None else [part for part in (keys.secret_key, keys.token, keys.access_key) if part]

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Mapping[str, str]:
        """See Signer."""
        keys = await self._renewal.get(deadline)
        # Hashing a large body takes long enough to be done elsewhere.
        return await blocking.run(len(body), partial(self._signed, keys, method, url, headers, body), deadline)

    def forget(self, signed: Mapping[str, str], response: Response) -> bool:
        """See Signer."""
        if not response.headers.get("x-amzn-errortype", "").startswith(_ENDED):
            return False
        keys = self._renewal.current
        if keys is not None and f"Credential={keys.access_key}/" in signed.get("authorization", ""):
            self._credentials = None
            self._renewal.forget(keys)
        return True

    def _signed(self, keys: Any, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        signed = {name: value for name, value in headers.items() if name in _SIGNED or name.startswith("x-amz-")}
        request = AWSRequest(method=method, url=url, headers=signed, data=body)
        SigV4Auth(keys, self._auth.service, self._auth.region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items() if name.lower() not in signed}

    def _fetch(self) -> Lease[Any]:
        """Runs in a thread. Raises RerankError."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._credentials = self._credentials or self._chain()
            keys = self._credentials and self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError, OSError) as error:
            raise Unreachable(f"the credentials of AWS cannot be had ({type(error).__name__})") from error
        if not keys:
            raise CredentialsRejected(
                "no credentials of AWS were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role"
            )
        now = self._now()
        return Lease(keys, now + ASK_AGAIN_SECONDS, now + GOOD_SECONDS)


def default_chain(profile: str | None) -> Any:
    """What botocore finds by itself, in that profile if one is named."""
    from botocore.session import Session

    # What it signs it logs for debugging, the session's token included.
    logging.getLogger("botocore.auth").setLevel(logging.INFO)
    return Session(profile=profile).get_credentials()
