"""Access tokens of Google Cloud, by google-auth with Application Default Credentials: a service account's file, a
workload's identity, or the metadata server (https://cloud.google.com/docs/authentication/application-default-credentials,
2026-11). Finding and refreshing them blocks, and so runs in a thread."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from gateway.backends.auth.renewal import Lease, Renewal
from gateway.transport.base import Response
from providers.errors import CredentialsRejected, Unreachable
from providers.spec import GoogleToken

RENEW_SECONDS = 5 * 60.0
"""Before a token ends the next one is fetched, while requests go on with the old one."""
MARGIN_SECONDS = 10.0
"""Before a token ends it is used no more: a request takes time to arrive, and clocks differ."""
FETCH_TIMEOUT = 10.0
"""For each answer of the token service, in seconds."""

Chain = Callable[[], Any]
"""Gives google-auth's credentials. Blocks."""


class GoogleSigner:
    """Sends a bearer token that is renewed before it ends, and once more if the target refuses it.

    Args:
        auth: which scope the token is for.
        chain: where the credentials are from.
        request: how google-auth asks the token service.
        now: see Renewal.
    """

    def __init__(
        self,
        auth: GoogleToken,
        chain: Chain | None = None,
        request: Callable[..., Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain or partial(default_chain, auth.scope)
        self._request = request
        self._credentials: Any = None
        self._renewal = Renewal(self._fetch, "the token of Google Cloud", now)

    @property
    def secrets(self) -> list[str]:
        """See Signer."""
        token = self._renewal.current
        return [token] if token else []

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> Mapping[str, str]:
        """See Signer."""
        return {"authorization": f"Bearer {await self._renewal.get(deadline)}"}

    def forget(self, signed: Mapping[str, str], response: Response) -> bool:
        """See Signer."""
        if response.status != 401:
            return False
        self._renewal.forget(signed["authorization"].removeprefix("Bearer "))
        return True

    def _fetch(self) -> Lease[str]:
        """Runs in a thread. Raises RerankError."""
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError

        try:
            self._credentials = self._credentials or self._chain()
            self._credentials.refresh(self._request or _request())
        except DefaultCredentialsError as error:
            raise CredentialsRejected(
                "no credentials of Google Cloud were found; "
                "set GOOGLE_APPLICATION_CREDENTIALS, or run as a service account"
            ) from error
        except RefreshError as error:
            if error.retryable:
                raise Unreachable("the token service of Google Cloud failed") from error
            raise CredentialsRejected("the credentials of Google Cloud were refused by its token service") from error
        except (GoogleAuthError, OSError) as error:
            raise Unreachable("the token service of Google Cloud does not answer") from error
        return self._lease()

    def _lease(self) -> Lease[str]:
        expiry = self._credentials.expiry  # In UTC, though it does not say so.
        ends = calendar.timegm(expiry.utctimetuple()) if expiry is not None else inf
        return Lease(self._credentials.token, ends - RENEW_SECONDS, ends - MARGIN_SECONDS)


def default_chain(scope: str) -> Any:
    """What google-auth finds by itself."""
    import google.auth

    found, _ = google.auth.default(scopes=[scope])
    return found


def _request() -> Callable[..., Any]:
    from google.auth.transport.requests import Request

    return partial(Request(), timeout=FETCH_TIMEOUT)
