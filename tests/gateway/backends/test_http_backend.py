"""HttpBackend: what each answer of a provider becomes, over both clients and a real server on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from gateway.backends.auth import open_signer
from gateway.backends.http import HttpBackend, HttpEndpoint, Url
from gateway.transport import open_client
from gateway.transport.base import Client, ClientSettings
from providers.capabilities import Capabilities, Limits
from providers.errors import (
    BadAnswer,
    CredentialsRejected,
    InvalidRequest,
    RateLimited,
    Rejected,
    RerankError,
    TargetFailed,
    TargetTimeout,
    TooLong,
    Unreachable,
    Unsupported,
)
from providers.spec import Auth, Bearer, Header, HttpProvider, NoAuth
from providers.types import Call, ContentParts, Ranked, Ranking, RerankRequest
from providers.wire.paths import quote_path
from tests.gateway.loopback import Answer, Loopback, hang, loopback, reply

KEY = "key-0123456789"


class Wire(msgspec.Struct):
    results: list[Ranked]


def decode(body: bytes, request: RerankRequest) -> Ranking:
    if body == b'"odd"':
        raise KeyError(request.query)
    if body == b'"refused"':
        raise BadAnswer("no results in it")
    if b"quoted" in body:
        raise BadAnswer(json.loads(body)["quoted"])
    return Ranking(results=msgspec.json.decode(body, type=Wire).results)


def error_message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


PROVIDER = HttpProvider(
    name="acme",
    base_url=None,
    path="/rerank",
    encode=lambda request: {"model": request.model, "query": request.query, "documents": request.documents},
    decode=decode,
    error_message=error_message,
    fields=frozenset(),
    capabilities={"*": Capabilities(limits=Limits(documents=3)), "small": Capabilities(limits=Limits(documents=1))},
    headers={"X-Version": "2"},
)
RANKING = reply(body=b'{"results": [{"index": 1, "relevance_score": 0.5}]}')


@pytest.fixture(params=("default", "httpx"))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    opened = open_client(ClientSettings(client=request.param, proxy="none"))
    yield opened
    await opened.aclose()


def ask(*documents: Any, **fields: Any) -> RerankRequest:
    return RerankRequest(model="m", query="confidential", documents=list(documents or ("a", "b")), **fields)


def backend(client: Client, server: Loopback | Url, **changes: Any) -> HttpBackend:
    url = server.url if isinstance(server, Loopback) else server
    provider = msgspec.structs.replace(PROVIDER, **changes)
    endpoint = HttpEndpoint(name="team-b", provider=provider, url=url, headers={"X-Team": "search"})
    return HttpBackend(endpoint, client, open_signer(provider.auth, KEY))


async def failure(client: Client, answer: Answer) -> RerankError:
    async with loopback(answer) as server:
        with pytest.raises(RerankError) as raised:
            await backend(client, server).rerank(ask())
    for secret in (KEY, "confidential", "hidden"):
        assert secret not in raised.value.message
    return raised.value


async def test_a_ranking(client: Client) -> None:
    call = Call(id="r1", headers={"x-request-id": "r1", "authorization": "Bearer the caller's own"})
    async with loopback(RANKING) as server:
        ranking = await backend(client, server).rerank(ask(call=call))
        sent = server.exchanges[0]
    assert ranking == Ranking(results=[Ranked(1, 0.5)])
    assert json.loads(sent.body) == {"model": "m", "query": "confidential", "documents": ["a", "b"]}
    assert {name: sent.header(name) for name in ("authorization", "x-version", "x-team", "x-request-id")} == {
        "authorization": f"Bearer {KEY}",
        "x-version": "2",
        "x-team": "search",
        "x-request-id": "r1",
    }
    assert sent.header("content-type") == "application/json"


async def test_no_key_sends_none(client: Client) -> None:
    async with loopback(RANKING) as server:
        endpoint = HttpEndpoint(name="acme", provider=PROVIDER, url=server.url)
        await HttpBackend(endpoint, client, open_signer(PROVIDER.auth, None)).rerank(ask())
        assert server.exchanges[0].header("authorization") is None


STATUSES: dict[int, type[RerankError]] = {
    **dict.fromkeys((400, 404, 422, 498), Rejected),
    413: TooLong,
    **dict.fromkeys((401, 402, 403), CredentialsRejected),
    429: RateLimited,
    **dict.fromkeys((301, 302, 307, 308, 405, 408, 409, 499, 500, 502, 503, 504, 529, 599), TargetFailed),
}


@pytest.mark.parametrize(("status", "error"), STATUSES.items(), ids=map(str, STATUSES))
async def test_each_status_has_its_error(client: Client, status: int, error: type[RerankError]) -> None:
    raised = await failure(client, reply(status, b'{"message": "Not like this."}', location="http://x/?k=hidden"))
    assert type(raised) is error
    assert raised.status == status


TEXTS: dict[str, tuple[int, bytes, str]] = {
    "a refusal is the vendor's own sentence": (400, b'{"message": "Too many tokens."}', "Too many tokens."),
    "a refusal without a text": (422, b"<html>", 'provider "team-b" answered 422 Unprocessable Entity'),
    "an empty body": (413, b"", 'provider "team-b" answered 413 Request Entity Too Large'),
    "rate limit": (429, b'{"message": "Slow down."}', "Slow down."),
    "rate limit without a text": (429, b"", 'provider "team-b" asks for fewer calls'),
    "a failure names the provider": (
        503,
        b'{"message": "Model is loading."}',
        'provider "team-b" failed with status 503 Service Unavailable: Model is loading.',
    ),
    "a status nobody knows": (599, b"", 'provider "team-b" failed with status 599'),
    "our key in the text": (400, json.dumps({"message": f"bad key {KEY}!"}).encode(), "bad key ***!"),
    "control characters": (400, b'{"message": "a\\u0000b\\r\\nc\\u001b[2J"}', "a b c [2J"),
    "a long text": (400, json.dumps({"message": "x" * 9999}).encode(), "x" * 499 + "…"),
    "our key where the text is cut": (
        400,
        json.dumps({"message": "x" * 495 + KEY}).encode(),
        "x" * 495 + "***",
    ),
}


@pytest.mark.parametrize(("status", "body", "message"), TEXTS.values(), ids=TEXTS)
async def test_the_text_of_an_error(client: Client, status: int, body: bytes, message: str) -> None:
    assert (await failure(client, reply(status, body))).message == message


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_our_credentials_are_named_but_not_told(client: Client, status: int) -> None:
    raised = await failure(client, reply(status, b'{"message": "Invalid key key-01...789"}'))
    assert "the gateway's own credentials" in raised.message
    assert '"team-b"' in raised.message
    assert "key-01" not in raised.message


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"<html>", "unusable answer: JSON is malformed"),
    "empty": (b"", "unusable answer"),
    "another shape": (b'{"results": [{"index": "confidential"}]}', "Expected `int`, got `str`"),
    "no results": (b"{}", "missing required field `results`"),
    "an adapter that trips": (b'"odd"', "unusable answer (KeyError)"),
    "an adapter that refuses": (b'"refused"', 'provider "team-b" gave an unusable answer: no results in it'),
    "a refusal that quotes": (
        json.dumps({"quoted": f"key {KEY}\r\nkey-01...789 confidential matters"}).encode(),
        'provider "team-b" gave an unusable answer: key *** *** *** matters',
    ),
    "a refusal without end": (json.dumps({"quoted": "x" * 9999}).encode(), "x" * 499 + "…"),
}


@pytest.mark.parametrize(("body", "told"), UNUSABLE.values(), ids=UNUSABLE)
async def test_a_200_that_does_not_decode(client: Client, body: bytes, told: str) -> None:
    raised = await failure(client, reply(200, body))
    assert type(raised) is BadAnswer
    assert told in raised.message


async def test_204_is_no_ranking(client: Client) -> None:
    assert type(await failure(client, reply(204, b""))) is BadAnswer


async def test_rate_limits_tell_how_long_to_wait(client: Client) -> None:
    assert (await failure(client, reply(429, b"", retry_after="7"))).retry_after == 7
    assert (await failure(client, reply(503, b"", retry_after_ms="250"))).retry_after == 0.25
    assert (await failure(client, reply(429, b"", x_ratelimit_reset="6m0s"))).retry_after == 360
    assert (await failure(client, reply(429, b"", retry_after="1", x_ratelimit_reset="12"))).retry_after == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
async def test_a_routine_reset_means_nothing_but_with_a_429(client: Client, status: int) -> None:
    assert (await failure(client, reply(status, b"", x_ratelimit_reset="86400"))).retry_after is None


async def test_a_body_over_the_limit_is_refused_here(client: Client) -> None:
    known = {"*": Capabilities(limits=Limits(body_bytes=30))}
    with pytest.raises(Rejected, match="at most 30 bytes per call, this one has 58") as raised:
        await backend(client, "http://127.0.0.1:1", capabilities=known).rerank(ask())
    assert raised.value.status == 413


async def test_a_body_may_be_bytes_and_a_path_may_name_the_model(client: Client) -> None:
    async with loopback(RANKING, RANKING) as server:
        live = backend(
            client,
            lambda model: f"http://localhost:{server.port}/models/{quote_path(model)}/rerank",
            encode=lambda request: b"<body/>",
        )
        await live.rerank(msgspec.structs.replace(ask(), model="a b/c"))
        with pytest.raises(InvalidRequest, match="cannot be part of a URL"):
            await live.rerank(msgspec.structs.replace(ask(), model="a/../b"))
    assert [(sent.line, sent.body) for sent in server.exchanges] == [
        ("POST /models/a%20b/c/rerank HTTP/1.1", b"<body/>")
    ]


CREDENTIALS: dict[str, tuple[Auth, dict[str, str | None]]] = {
    "bearer": (Bearer(), {"authorization": f"Bearer {KEY}", "api-key": None}),
    "a header": (Header("Api-Key"), {"authorization": None, "api-key": KEY}),
    "none": (NoAuth(), {"authorization": None, "api-key": None}),
}


@pytest.mark.parametrize(("auth", "sent"), CREDENTIALS.values(), ids=CREDENTIALS)
async def test_how_the_key_is_sent(client: Client, auth: Auth, sent: dict[str, str | None]) -> None:
    async with loopback(RANKING) as server:
        await backend(client, server, auth=auth).rerank(ask())
    assert {name: server.exchanges[0].header(name) for name in sent} == sent


class Rotating:
    """A credential that is another one for each call, and signs what is sent."""

    def __init__(self) -> None:
        self.secrets = ["token-0"]

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes, _: float) -> dict[str, str]:
        self.secrets = [f"token-{int(self.secrets[0][-1]) + 1}"]
        return {"x-signature": f"{method} {len(body)} {headers['x-team']} {self.secrets[0]}"}


async def test_a_signer_sees_the_request_and_its_secrets_are_masked(client: Client) -> None:
    async with loopback(RANKING, reply(400, b'{"message": "bad token-2, not token-1"}')) as server:
        endpoint = HttpEndpoint(name="acme", provider=PROVIDER, url=server.url, headers={"X-Team": "search"})
        live = HttpBackend(endpoint, client, Rotating())
        await live.rerank(ask())
        with pytest.raises(Rejected) as raised:
            await live.rerank(ask())
    assert raised.value.message == "bad ***, not token-1"
    assert [sent.header("x-signature") for sent in server.exchanges] == [
        f"POST {len(sent.body)} search token-{number}" for number, sent in enumerate(server.exchanges, 1)
    ]


class Unsigned:
    """A credential that cannot be had."""

    secrets = ()

    async def sign(self, *_: Any) -> dict[str, str]:
        raise Unreachable("the token service does not answer")


def test_an_endpoint_shows_no_header() -> None:
    assert "search" not in repr(HttpEndpoint(name="a", provider=PROVIDER, url="http://x", headers={"X-Team": "search"}))


async def test_a_request_that_cannot_be_signed_is_not_sent(client: Client) -> None:
    async with loopback(RANKING) as server:
        with pytest.raises(Unreachable, match="token service"):
            await HttpBackend(HttpEndpoint(name="a", provider=PROVIDER, url=server.url), client, Unsigned()).rerank(
                ask()
            )
        assert not server.exchanges


PICTURES = {"*": Capabilities(multimodal=True), "text-*": Capabilities(multimodal=False)}
CONTENT = {"document": ask("a", ContentParts([])), "query": msgspec.structs.replace(ask(), query=ContentParts([]))}


@pytest.mark.parametrize("request_", CONTENT.values(), ids=CONTENT)
async def test_content_parts_need_a_multimodal_provider(client: Client, request_: RerankRequest) -> None:
    with pytest.raises(Unsupported, match="ranks text only"):
        await backend(client, "http://127.0.0.1:1").rerank(request_)
    async with loopback(RANKING) as server:
        await backend(client, server, capabilities=PICTURES).rerank(request_)
        with pytest.raises(Unsupported, match='model "text-m" of provider "team-b" ranks text only'):
            await backend(client, server, capabilities=PICTURES).rerank(
                msgspec.structs.replace(request_, model="text-m")
            )


async def test_a_passed_deadline_sends_nothing(client: Client) -> None:
    async with loopback(RANKING) as server:
        with pytest.raises(TargetTimeout):
            await backend(client, server).rerank(ask(call=Call(id="", deadline=time.monotonic() - 1)))
        assert not server.exchanges


async def test_a_deadline_shortens_the_call(client: Client) -> None:
    async with loopback(hang) as server:
        with pytest.raises(TargetTimeout, match="within 0"):
            await backend(client, server).rerank(ask(call=Call(id="", deadline=time.monotonic() + 0.5)))


async def test_a_backend_is_ready_before_anybody_has_asked_it() -> None:
    assert await backend(None, "http://127.0.0.1:1").ready()
