"""A provider behind HTTP as a live backend: encode → send → status → decode."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.backends.http_errors import refusal, sanitize
from gateway.backends.redaction import redact
from gateway.headers import REQUEST_TIMEOUT
from gateway.transport.base import Client, Response, Timeouts
from gateway.transport.network import host_of
from providers.errors import BadAnswer, Rejected, RerankError, TargetTimeout, Unsupported
from providers.spec import HttpProvider, ScoreApi
from providers.types import ContentParts, Ranking, RerankRequest

_encode: Final = msgspec.json.Encoder().encode


class HttpBackend:
    """One provider at one URL. Whoever opened the client closes it.

    Args:
        provider: the adapter.
        url: the complete endpoint.
        key: sent as a bearer token; None sends none.
        client: what carries the requests.
        timeouts: of one call; a deadline of the request that comes sooner shortens `total`.
        headers: the operator's own constant headers.
        name: the configured name of the provider, for messages; the adapter's if absent.
        score_url: the complete endpoint of the adapter's score API, if it has one.
    """

    def __init__(
        self,
        provider: HttpProvider,
        url: str,
        key: str | None,
        client: Client,
        timeouts: Timeouts,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        score_url: str | None = None,
    ) -> None:
        self._provider = provider
        self._url = url
        self._key = key
        self._client = client
        self._timeouts = timeouts
        self._headers = _constant_headers(provider, key, headers or {})
        self._secrets = [secret for secret in (key, *(headers or {}).values()) if secret]
        self._name = name or provider.name
        self._score_url = score_url or url

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank by one call of the provider. Raises RerankError."""
        self._check(request)
        timeouts = self._within(request.call.deadline)
        own = request.attempt.headers or {} if request.attempt is not None else {}
        headers = {**request.call.headers, **own, **self._headers}
        if request.call.deadline is not None:
            headers[REQUEST_TIMEOUT] = str(int(timeouts.total * 1000) or 1)
        api, url = self._api(request)
        body = _encode(api.encode(request))
        start = time.monotonic()
        try:
            response = await self._client.send("POST", url, headers, body, timeouts)
        finally:
            request.call.recorder.add_wait(start, time.monotonic())
        if not 200 <= response.status < 300:
            raise self._refused(response, request)
        return self._decode(api, response.body, request)

    async def ready(self) -> bool:
        """Always: whether the provider answers is known only by asking it."""
        return True

    def _api(self, request: RerankRequest) -> tuple[HttpProvider | ScoreApi, str]:
        """What the request is put to: the score API where it carries pairs and there is one."""
        if request.queries is None:
            return self._provider, self._url
        if self._provider.score is not None:
            return self._provider.score, self._score_url
        if len(request.queries) > 1:
            raise Unsupported(
                f'provider "{self._name}" scores one query at a time; send one query with its documents per request'
            )
        return self._provider, self._url

    def _check(self, request: RerankRequest) -> None:
        provider, documents = self._provider, request.documents
        if provider.max_documents is not None and len(documents) > provider.max_documents:
            raise Rejected(
                f'provider "{self._name}" takes at most {provider.max_documents} documents per call, '
                f"this one has {len(documents)}; send fewer",
                status=413,
            )
        if not provider.multimodal and _has_parts(request):
            raise Unsupported(f'provider "{self._name}" ranks text only; send the query and documents as text')

    def _within(self, deadline: float | None) -> Timeouts:
        timeouts = self._timeouts
        if deadline is None:
            return timeouts
        left = deadline - time.monotonic()
        if left <= 0:
            raise TargetTimeout(f"no time was left to ask {host_of(self._url)}")
        if left >= timeouts.total:
            return timeouts
        return Timeouts(timeouts.connect, timeouts.read, timeouts.pool, left)

    def _refused(self, response: Response, request: RerankRequest) -> RerankError:
        error = refusal(self._provider, self._name, response, self._key)
        error.message = redact(error.message, self._secrets, request)
        error.args = (error.message,)
        return error

    def _decode(self, api: HttpProvider | ScoreApi, body: bytes, request: RerankRequest) -> Ranking:
        try:
            return api.decode(body, request)
        except RerankError:
            raise
        except msgspec.MsgspecError as error:
            # Its messages tell the place and the expected type.
            raise BadAnswer(
                f'provider "{self._name}" gave an unusable answer: '
                f"{redact(sanitize(str(error), self._key), self._secrets, request)}"
            ) from error
        except Exception as error:  # An adapter may be anybody's, and a backend raises nothing but RerankError.
            raise BadAnswer(f'provider "{self._name}" gave an unusable answer ({type(error).__name__})') from error


def _has_parts(request: RerankRequest) -> bool:
    if type(request.query) is ContentParts or ContentParts in set(map(type, request.documents)):
        return True
    return request.queries is not None and ContentParts in set(map(type, request.queries))


def _constant_headers(provider: HttpProvider, key: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "rerank-gateway",
        **{name.lower(): value for name, value in provider.headers.items()},
        **{name.lower(): value for name, value in extra.items()},
    }
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return headers
