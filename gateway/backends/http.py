"""A provider behind HTTP as a live backend: encode → send → status → decode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway import blocking
from gateway.backends.auth import Signer
from gateway.backends.http_errors import refusal, sanitize
from gateway.backends.redaction import redact
from gateway.headers import REQUEST_TIMEOUT
from gateway.transport.base import Client, Response, Timeouts
from gateway.transport.network import host_of
from providers.capabilities import Capabilities, CapabilitiesByModel, Limits, resolve
from providers.errors import BadAnswer, LimitExceeded, RerankError, TargetTimeout, Unsupported
from providers.spec import HttpProvider, ScoreApi
from providers.types import ContentParts, Ranking, RerankRequest, Usage

_encode: Final = msgspec.json.Encoder().encode


MAX_MODELS = 1024
"""Models whose URL and capabilities are remembered: callers may invent names, and must not fill the memory by it."""

MAX_COUNT_DIGITS = 15
"""Digits of a count in a header; longer ones count nothing."""

_REFUSED = frozenset({401, 403})
"""Statuses that may mean that a credential has ended."""

Url = str | Callable[[str], str]
"""A complete URL; a function of the model where the URL names it."""


class HttpEndpoint(Struct, frozen=True, kw_only=True):
    """One configured provider: what is called, where, and within which bounds.

    Attributes:
        name: the configured name of the provider, for messages.
        provider: the adapter.
        url: the complete endpoint.
        score_url: that of the adapter's score API; None if it has none.
        timeouts: of one call; a deadline of the request that comes sooner shortens `total`.
        headers: the operator's own constant headers.
        capabilities: the operator's corrections of what the adapter declares.
    """

    name: str
    provider: HttpProvider
    url: Url
    score_url: Url | None = None
    timeouts: Timeouts = Timeouts()
    headers: Mapping[str, str] = {}
    capabilities: CapabilitiesByModel = {}

    def __repr__(self) -> str:
        return f"HttpEndpoint({self.name!r})"  # The headers may hold secrets.


class HttpBackend:
    """One provider, called with one credential. Whoever opened the client closes it.

    Args:
        endpoint: what is called.
        client: what carries the requests.
        signer: what puts the credential on them.
    """

    def __init__(self, endpoint: HttpEndpoint, client: Client, signer: Signer) -> None:
        self._endpoint = endpoint
        self._provider = endpoint.provider
        self._name = endpoint.name
        self._client = client
        self._signer = signer
        self._timeouts = endpoint.timeouts
        self._headers = _constant_headers(endpoint)
        # Made once: nearly every request goes to the same URL.
        self._rerank_api = (endpoint.provider, endpoint.url) if isinstance(endpoint.url, str) else None
        self._known = _capabilities(endpoint)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank by one call of the provider. Raises RerankError."""
        known = self._known(request.model)
        limits = known.limits
        self._check(request, known)
        api, url = self._api(request)
        size, deadline = request.call.body_bytes, request.call.deadline
        self._within(deadline, url)
        body = await blocking.run(size, partial(self._body, api, request, limits), deadline)
        start = time.monotonic()
        try:
            response = await self._ask(request, url, body)
        finally:
            request.call.recorder.add_wait(start, time.monotonic())
        if not 200 <= response.status < 300:
            raise await blocking.run(max(size, len(response.body)), partial(self._error, response, request), deadline)
        ranking = await blocking.run(len(response.body), partial(self._decode, api, response.body, request), deadline)
        header = self._provider.tokens_header
        return ranking if not header or ranking.usage else _counted(ranking, response.headers.get(header, ""))

    async def ready(self) -> bool:
        """Always: whether the provider answers is known only by asking it."""
        return True

    async def _ask(self, request: RerankRequest, url: str, body: bytes) -> Response:
        """Send the request; once more if its credential had ended, and another could be had."""
        own = request.attempt.headers or {} if request.attempt is not None else {}
        headers = {**request.call.headers, **own, **self._headers}
        response, signed = await self._send(request, url, headers, body)
        if response.status in _REFUSED and self._signer.forget(signed, response) and await request.call.take_attempt():
            response, _ = await self._send(request, url, headers, body)
        return response

    async def _send(
        self, request: RerankRequest, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Response, Mapping[str, str]]:
        """The response, and the headers that signed the request."""
        deadline = request.call.deadline
        until = time.monotonic() + self._timeouts.total if deadline is None else deadline
        signed = await self._signer.sign("POST", url, headers, body, until)
        timeouts = self._within(deadline, url)
        sent = {**headers, **signed}
        if deadline is not None:
            sent[REQUEST_TIMEOUT] = str(int(timeouts.total * 1000) or 1)
        return await self._client.send("POST", url, sent, body, timeouts), signed

    def _api(self, request: RerankRequest) -> tuple[HttpProvider | ScoreApi, str]:
        """What the request is put to: the score API where it carries pairs and there is one."""
        endpoint = self._endpoint
        if request.queries is not None:
            score = endpoint.provider.score
            if score is not None and endpoint.score_url is not None:
                return score, at(endpoint.score_url, request.model)
            if len(request.queries) > 1:
                raise Unsupported(
                    f'provider "{self._name}" scores one query at a time; send one query with its documents per request'
                )
        return self._rerank_api or (endpoint.provider, at(endpoint.url, request.model))

    def _check(self, request: RerankRequest, known: Capabilities) -> None:
        if not known.multimodal and _has_parts(request):
            raise Unsupported(
                f'model "{request.model}" of provider "{self._name}" ranks text only; '
                "send the query and documents as text"
            )

    def _body(self, api: HttpProvider | ScoreApi, request: RerankRequest, limits: Limits) -> bytes:
        encoded = api.encode(request)
        body = encoded if isinstance(encoded, bytes) else _encode(encoded)
        if limits.body_bytes is not None and len(body) > limits.body_bytes:
            raise LimitExceeded(
                f'provider "{self._name}" takes at most {limits.body_bytes} bytes per call, '
                f"this one has {len(body)}; send fewer or shorter documents",
                status=413,
            )
        return body

    def _within(self, deadline: float | None, url: str) -> Timeouts:
        timeouts = self._timeouts
        if deadline is None:
            return timeouts
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TargetTimeout(f"no time was left to ask {host_of(url)}", waited=0.0)
        if remaining >= timeouts.total:
            return timeouts
        return Timeouts(timeouts.connect, timeouts.read, timeouts.pool, remaining)

    def _error(self, response: Response, request: RerankRequest) -> RerankError:
        secrets = self._secrets()
        error = refusal(self._provider, self._name, response, secrets)
        error.message = redact(error.message, secrets, request)
        error.args = (error.message,)
        return error

    def _secrets(self) -> list[str]:
        """What no message may show: the credential as it is now, and the operator's headers."""
        return [secret for secret in (*self._signer.secrets, *self._endpoint.headers.values()) if secret]

    def _decode(self, api: HttpProvider | ScoreApi, body: bytes, request: RerankRequest) -> Ranking:
        try:
            return api.decode(body, request)
        except (BadAnswer, msgspec.MsgspecError) as error:
            # A BadAnswer may quote the vendor; msgspec's messages tell the place and the expected type.
            reason = redact(sanitize(str(error), self._secrets()), self._secrets(), request)
            raise BadAnswer(f'provider "{self._name}" gave an unusable answer: {reason}') from error
        except Exception as error:  # An adapter may be anybody's, and a backend raises nothing but RerankError.
            raise BadAnswer(f'provider "{self._name}" gave an unusable answer ({type(error).__name__})') from error


def _has_parts(request: RerankRequest) -> bool:
    if type(request.query) is ContentParts or ContentParts in set(map(type, request.documents)):
        return True
    return request.queries is not None and ContentParts in set(map(type, request.queries))


def _counted(ranking: Ranking, tokens: str) -> Ranking:
    """The ranking with the count that a header gave; as it is if that is none."""
    if not (tokens.isascii() and tokens.isdigit() and 0 < len(tokens) <= MAX_COUNT_DIGITS and int(tokens)):
        return ranking
    return replace(ranking, usage=Usage(prompt_tokens=int(tokens), total_tokens=int(tokens)))


def at(url: Url, model: str) -> str:
    """The URL for that model."""
    return url if isinstance(url, str) else url(model)


def _capabilities(endpoint: HttpEndpoint) -> Callable[[str], Capabilities]:
    """What is known of each model. Asked for with every request, so what was found is remembered."""

    @lru_cache(maxsize=MAX_MODELS)
    def known(model: str) -> Capabilities:
        return resolve(model, endpoint.provider.capabilities, endpoint.capabilities)

    return known


def _constant_headers(endpoint: HttpEndpoint) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "rerank-gateway",
        **{name.lower(): value for name, value in endpoint.provider.headers.items()},
        **{name.lower(): value for name, value in endpoint.headers.items()},
    }
