"""Every promise of the Client protocol, kept by each client, against a real server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import os
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from gateway.http1 import addresses
from gateway.transport import open_client
from gateway.transport.base import Client, ClientSettings, Timeouts
from providers.errors import (
    AnswerBroken,
    AnswerTooLarge,
    BadAnswer,
    NotHttp,
    Overloaded,
    RerankError,
    TargetTimeout,
    Unreachable,
)
from tests.gateway.loopback import Answer, Exchange, Loopback, hang, loopback, raw, reply, then_close, then_reset

CLIENTS = ("default", "aiohttp", "httpx")
HEAD = b"HTTP/1.1 200 OK\r\n"
QUICK = Timeouts(connect=30, read=0.3, pool=30, total=30)
CALM = Timeouts(connect=30, read=30, pool=30, total=30)
SECRETS = ("hidden", "s3cret", "confidential", "/rerank")


@pytest.fixture(params=CLIENTS)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return str(request.param)


@pytest.fixture
async def client(library: str) -> AsyncIterator[Client]:
    opened = open_client(ClientSettings(client=library, max_answer_bytes=100_000))  # type: ignore[arg-type]
    yield opened
    await opened.aclose()


async def post(client: Client, url: str, timeouts: Timeouts = CALM) -> tuple[int, bytes]:
    headers = {"content-type": "application/json", "accept-encoding": "gzip", "authorization": "Bearer s3cret"}
    answer = await client.send("POST", url, headers, b'{"query": "confidential"}', timeouts)
    return answer.status, answer.body


def packed(body: bytes) -> Answer:
    return reply(body=gzip.compress(body), content_encoding="gzip")


def coded(coding: str, body: bytes, status: int = 200) -> Answer:
    return raw(
        f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\ncontent-encoding:{coding}\r\n"
        "retry-after: 7 \r\n\r\n".encode()
        + body
    )


def chunked(*chunks: bytes) -> Answer:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return raw(HEAD + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n")


ANSWERED = {
    "200": (reply(200, b"[1]"), (200, b"[1]")),
    "empty body": (reply(204, b""), (204, b"")),
    "error status with its body": (reply(503, b"busy"), (503, b"busy")),
    "status nobody knows": (reply(599, b""), (599, b"")),
    "chunked": (chunked(b"[1", b"]"), (200, b"[1]")),
    "gzip": (packed(b"[1]" * 999), (200, b"[1]" * 999)),
    "gzip and a space": (coded(" gzip \t", gzip.compress(b"[1]")), (200, b"[1]")),
    "gzip in capitals": (coded("GZIP", gzip.compress(b"[1]")), (200, b"[1]")),
    "gzip by its old name": (coded("x-gzip", gzip.compress(b"[1]")), (200, b"[1]")),
    "gzip and identity": (coded("gzip, identity", gzip.compress(b"[1]")), (200, b"[1]")),
    "gzip twice": (coded("gzip,gzip", gzip.compress(gzip.compress(b"[1]"))), (200, b"[1]")),
    "gzip twice, by two headers": (
        coded("gzip\r\ncontent-encoding: gzip", gzip.compress(gzip.compress(b"[1]"))), (200, b"[1]"),
    ),
    "gzip in several members": (coded("gzip", gzip.compress(b"[") + gzip.compress(b"1]")), (200, b"[1]")),
    "gzip with padding": (coded("gzip", gzip.compress(b"[1]") + bytes(9)), (200, b"[1]")),
    "small chunks": (chunked(*[b"x"] * 9000), (200, b"x" * 9000)),
    "redirect is not followed": (reply(307, b"", location="/elsewhere"), (307, b"")),
    "until the connection closes": (then_close(HEAD + b"\r\n[1]"), (200, b"[1]")),
    "as long as allowed, with an echo of the request": (reply(body=b"x" * 100_025), (200, b"x" * 100_025)),
    "the same, chunked": (chunked(*[b"x" * 4001] * 25), (200, b"x" * 100_025)),
    "the same, gzip": (packed(bytes(100_025)), (200, bytes(100_025))),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), ANSWERED.values(), ids=ANSWERED)
async def test_an_answer_is_given_whole(client: Client, answer: Answer, expected: tuple[int, bytes]) -> None:
    async with loopback(answer) as server:
        assert await post(client, server.url) == expected
        assert len(server.exchanges) == 1


BROKEN: dict[str, tuple[Answer, type[RerankError], str]] = {
    "reset before an answer": (then_reset(b""), Unreachable, ""),
    "closed before an answer": (then_close(b""), Unreachable, ""),
    "closed in the head": (then_close(HEAD + b"content-le"), Unreachable, ""),
    "reset in the body": (then_reset(HEAD + b"content-length: 100\r\n\r\n[1"), AnswerBroken, ""),
    "body shorter than said": (then_close(HEAD + b"content-length: 100\r\n\r\n[1]"), AnswerBroken, ""),
    "chunks break off": (then_close(HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n[1"), AnswerBroken, ""),
    "not HTTP": (then_close(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), NotHttp, ""),
    "content-length is no number": (then_close(HEAD + b"content-length: many\r\n\r\n"), NotHttp, ""),
    "not gzip": (reply(body=b"[1]" * 99, content_encoding="gzip"), NotHttp, ""),
    "more than gzip": (coded("gzip", gzip.compress(b"[1]") + b"[1]"), NotHttp, ""),
    "gzip cut short": (coded("gzip", gzip.compress(b"[1]")[:-1]), NotHttp, ""),
    "brotli": (coded("br", b"\x0b\x00\x80{}\x03"), BadAnswer, "in the content coding br, but was asked for gzip"),
    "deflate": (coded("deflate", zlib.compress(b"[1]")), BadAnswer, "in the content coding deflate"),
    "zstd": (coded("zstd", b"\x28\xb5\x2f\xfd"), BadAnswer, "in the content coding zstd"),
    "gzip over brotli": (coded("br, gzip", gzip.compress(b"[1]")), BadAnswer, "in the content coding br"),
    "a coding nobody knows": (coded("utf-8", b"[1]"), BadAnswer, "in the content coding utf-8"),
    "hangs before an answer": (hang, TargetTimeout, "0.3 s"),
    "hangs in the body": (raw(HEAD + b"content-length: 100\r\n\r\n[1"), TargetTimeout, "0.3 s"),
    "too long": (reply(body=b"x" * 100_026), AnswerTooLarge, "more than 100025 bytes, our limit"),
    "too long, chunked": (chunked(*[b"x" * 1000] * 101), AnswerTooLarge, "more than 100025 bytes, our limit"),
    "gzip bomb": (packed(bytes(5_000_000)), AnswerTooLarge, "more than 100025 bytes, our limit"),
}


@pytest.mark.parametrize(("answer", "error", "told"), BROKEN.values(), ids=BROKEN)
async def test_a_fault_becomes_our_error(client: Client, answer: Answer, error: type[RerankError], told: str) -> None:
    async with loopback(answer) as server:
        with pytest.raises(error) as raised:
            await post(client, server.url, QUICK if error is TargetTimeout else CALM)
        assert f"localhost:{server.port}" in raised.value.message
        assert told in raised.value.message
        assert not [secret for secret in SECRETS if secret in raised.value.message]
        assert len(server.exchanges) == 1


def refused(rest: bytes) -> bytes:
    return b"HTTP/1.1 429 X\r\nretry-after: 7\r\n" + rest


ERROR_ANSWERS: dict[str, Answer] = {
    "brotli": coded("br", b"\x0b\x00\x80{}\x03", 429),
    "deflate": coded("deflate", zlib.compress(b"slow down"), 429),
    "zstd": coded("zstd", b"\x28\xb5\x2f\xfd", 429),
    "not gzip": coded("gzip", b"slow down", 429),
    "gzip cut short": coded("gzip", gzip.compress(b"slow down")[:-1], 429),
    "gzip bomb": coded("gzip", gzip.compress(bytes(5_000_000)), 429),
    "too long": raw(refused(b"content-length: 100026\r\n\r\n") + b"x" * 100_026),
    "too long, chunked": raw(refused(b"transfer-encoding: chunked\r\n\r\n") + b"186BA\r\n" + b"x" * 100_026),
    "closed in the body": then_close(refused(b"content-length: 100\r\n\r\nslow")),
    "chunks break off": then_close(refused(b"transfer-encoding: chunked\r\n\r\nff\r\nslow")),
    "a chunk's size is no number": then_close(refused(b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\nmany\r\n")),
    "hangs in the body": raw(refused(b"content-length: 100\r\n\r\nslow")),
}


@pytest.mark.parametrize("answer", ERROR_ANSWERS.values(), ids=ERROR_ANSWERS)
async def test_an_error_answer_keeps_its_status_without_its_body(client: Client, library: str, answer: Answer) -> None:
    if library == "aiohttp" and answer is ERROR_ANSWERS["a chunk's size is no number"]:
        pytest.skip("its parser gives nothing of a packet in which it meets a fault")
    async with loopback(answer, reply()) as server:
        told = await client.send("POST", server.url, {"accept-encoding": "gzip"}, b"{}", QUICK)
        assert (told.status, told.headers.get("retry-after"), told.body) == (429, "7", b"")
        assert await post(client, server.url) == (200, b"{}")


UNTIL_CLOSE: dict[str, tuple[bytes, tuple[int, bytes]]] = {
    "identity": (b"transfer-encoding: identity\r\n\r\n[1]", (200, b"[1]")),
    "identity in capitals": (b"Transfer-Encoding: Identity\r\n\r\n[1]", (200, b"[1]")),
    "identity of nothing": (b"transfer-encoding: identity\r\n\r\n", (200, b"")),
    "identity before chunks": (b"transfer-encoding: identity, chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", (200, b"[1]")),
    "gzip before chunks": (
        b"transfer-encoding: gzip, chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (len(gzip.compress(b"[1]")), gzip.compress(b"[1]")),
        (200, b"[1]"),
    ),
    "a keep-alive that is not kept": (b"connection: keep-alive\r\n\r\n[1]", (200, b"[1]")),
}


@pytest.mark.parametrize(("sent", "expected"), UNTIL_CLOSE.values(), ids=UNTIL_CLOSE)
async def test_odd_framing_is_understood(
    client: Client, library: str, sent: bytes, expected: tuple[int, bytes]
) -> None:
    async with loopback(then_close(HEAD + sent)) as server:
        if library == "httpx" and b"transfer-encoding" in sent.lower():  # It knows `chunked` only.
            with pytest.raises(NotHttp):
                await post(client, server.url)
        else:
            assert await post(client, server.url) == expected


async def test_a_fault_before_an_answer_is_none_in_the_middle_of_one(client: Client) -> None:
    async with loopback(then_reset(b""), then_close(b"")) as server:
        for _ in range(2):
            with pytest.raises(Unreachable) as raised:
                await post(client, server.url)
            assert raised.value.retryable


async def test_after_every_fault_the_client_still_works(client: Client) -> None:
    faults = [answer for answer, _, _ in BROKEN.values()]
    async with loopback(*faults, reply()) as server:
        for _ in faults:
            with pytest.raises(RerankError):
                await post(client, server.url, QUICK)
        assert await post(client, server.url) == (200, b"{}")


async def test_connection_refused(client: Client, unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable, match=r"^could not connect to 127\.0\.0\.1:\d+: Connection refused"):
        await post(client, f"http://127.0.0.1:{unused_tcp_port}/rerank?tenant=hidden")


async def test_a_name_that_does_not_resolve(client: Client) -> None:
    with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
        await post(client, "http://nowhere.invalid/rerank?tenant=hidden")


async def test_the_last_addresses_serve_while_the_resolver_is_down(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_loop: object, host: str, port: int, **_: object) -> list[object]:
        if down:
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    down = False
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    monkeypatch.setattr(addresses, "MAX_AGE_SECONDS", -1)
    client = open_client(ClientSettings(client=library))  # type: ignore[arg-type]
    async with loopback(then_close(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n{}")) as server:
        url = f"http://upstream.test:{server.port}/"
        assert await post(client, url) == (200, b"{}")
        down = True
        if library == "httpx":  # It looks names up by itself, for each connection.
            with pytest.raises(Unreachable):
                await post(client, url)
        else:
            assert await post(client, url) == (200, b"{}")
    await client.aclose()


async def test_total_time_is_bounded_though_bytes_keep_coming(client: Client) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.write(HEAD + b"content-length: 1000\r\n\r\n")
        for _ in range(100):
            await exchange.write(b"x")
            await asyncio.sleep(0.02)

    async with loopback(drip) as server:
        with pytest.raises(TargetTimeout, match=r"within 0\.1 s"):
            await post(client, server.url, Timeouts(total=0.1))


WAITS = {
    "the pool's time is over": Timeouts(connect=0.01, pool=0.05),
    "the deadline comes first": Timeouts(pool=5, total=0.05),
    "no time to wait at all": Timeouts(pool=1e-9),
}


@pytest.mark.parametrize("timeouts", WAITS.values(), ids=WAITS)
async def test_waiting_for_our_own_connections_is_overload(library: str, timeouts: Timeouts) -> None:
    client = open_client(ClientSettings(client=library, max_connections=1))  # type: ignore[arg-type]
    async with loopback(hang) as server:
        first = asyncio.create_task(post(client, server.url, CALM))
        await server.arrived.wait()
        with pytest.raises(Overloaded, match=r"every connection to \S+ is in use") as raised:
            await post(client, server.url, timeouts)
        assert raised.value.retry_after == 1.0
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.answers[:] = [reply(body=b"[1]")]
        assert await post(client, server.url) == (200, b"[1]"), "its place is free again"
    await client.aclose()


async def test_a_timeout_tells_how_long_the_server_itself_was_waited_for(library: str) -> None:
    client = open_client(ClientSettings(client=library, max_connections=1))  # type: ignore[arg-type]
    async with loopback(hang) as server:
        first = asyncio.create_task(post(client, server.url, CALM))
        await server.arrived.wait()
        second = asyncio.create_task(post(client, server.url, Timeouts(total=1.2)))
        asyncio.get_running_loop().call_later(0.6, first.cancel)
        with pytest.raises(TargetTimeout) as raised:
            await second
        assert raised.value.waited is not None
        assert raised.value.waited < 0.9
        await asyncio.gather(first, return_exceptions=True)
        with pytest.raises(TargetTimeout) as raised:
            await post(client, server.url, Timeouts(total=0.3))
        assert raised.value.waited is not None
        assert raised.value.waited >= 0.28
    await client.aclose()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
async def test_no_means_for_a_connection_is_overload(
    client: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    async with loopback(reply()) as server:
        url = server.url
        with monkeypatch.context() as without:
            without.setattr(socket, "socket", refuse)
            with pytest.raises(Overloaded, match="the gateway has no means left for a connection"):
                await post(client, url)
        assert (await post(client, url))[0] == 200


async def test_connections_are_reused(client: Client) -> None:
    async with loopback(reply()) as server:
        for _ in range(5):
            await post(client, server.url)
        assert server.connections == 1


STALE = {
    "closes after reading the next request": then_close(b""),
    "resets after reading the next request": then_reset(b""),
}


@pytest.mark.parametrize("fault", STALE.values(), ids=STALE)
async def test_a_stale_connection_is_no_failure(client: Client, fault: Answer) -> None:
    async with loopback(reply(), fault, reply(body=b"[2]")) as server:
        await post(client, server.url)
        assert await post(client, server.url) == (200, b"[2]")
        assert [exchange.connection for exchange in server.exchanges] == [1, 1, 2]


@pytest.mark.parametrize("fault", STALE.values(), ids=STALE)
async def test_a_stale_connection_is_no_failure_for_a_long_body(client: Client, fault: Answer) -> None:
    async with loopback(reply(), fault, reply(body=b"[2]")) as server:
        await post(client, server.url)
        told = await client.send("POST", server.url, {}, b"x" * 3_000_000, CALM)
        assert told.body == b"[2]"
        assert [len(exchange.body) for exchange in server.exchanges[1:]] == [3_000_000] * 2


async def test_many_stale_connections_at_once_are_no_failure(client: Client) -> None:
    async def gathered(exchange: Exchange) -> None:
        if len(server.exchanges) >= 8:
            full.set()
        await full.wait()
        await reply()(exchange)

    async def once_more(exchange: Exchange) -> None:
        await (then_close(b"") if exchange.connection <= 8 else reply())(exchange)

    full = asyncio.Event()
    async with loopback(*[gathered] * 8, once_more) as server:
        await asyncio.gather(*(post(client, server.url) for _ in range(8)))
        assert await asyncio.gather(*(post(client, server.url) for _ in range(8))) == [(200, b"{}")] * 8


async def test_a_closed_idle_connection_is_no_failure(client: Client) -> None:
    async with loopback(then_close(HEAD + b"content-length: 2\r\n\r\n{}"), reply(body=b"[2]")) as server:
        await post(client, server.url)
        await asyncio.sleep(0)
        assert await post(client, server.url) == (200, b"[2]")


async def test_a_second_fault_is_not_sent_again(client: Client) -> None:
    async with loopback(reply(), then_close(b"")) as server:
        await post(client, server.url)
        with pytest.raises(Unreachable):
            await post(client, server.url)
        assert len(server.exchanges) == 3


@pytest.mark.parametrize("how", [then_close, then_reset])
async def test_begun_answers_are_not_sent_again(client: Client, how: Callable[[bytes], Answer]) -> None:
    async with loopback(reply(), how(HEAD + b"content-length: 100\r\n\r\n[")) as server:
        await post(client, server.url)
        with pytest.raises(AnswerBroken):
            await post(client, server.url)
        assert len(server.exchanges) == 2


async def test_bytes_after_the_answer_do_not_spoil_the_next(client: Client) -> None:
    async with loopback(raw(HEAD + b"content-length: 2\r\n\r\n{}{}{}"), reply(body=b"[2]")) as server:
        with contextlib.suppress(Unreachable):
            assert await post(client, server.url) == (200, b"{}")
        assert await post(client, server.url) == (200, b"[2]")


async def test_cancellation_closes_the_connection(client: Client) -> None:
    async with loopback(hang) as server:
        call = asyncio.create_task(post(client, server.url))
        await server.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.gone.wait(), 30)


async def test_what_is_sent(client: Client) -> None:
    async with loopback(reply(set_cookie="a=b")) as server:
        await post(client, server.url)
        await post(client, server.url)
        sent = server.exchanges[1]
        assert sent.line == "POST /rerank?tenant=hidden HTTP/1.1"
        assert sent.body == b'{"query": "confidential"}'
        names = {line.partition(":")[0].lower() for line in sent.head.split("\r\n")[1:] if line}
        assert names >= {"accept-encoding", "authorization", "content-length", "content-type", "host"}
        assert "cookie" not in names


async def test_a_large_body_arrives_whole(client: Client) -> None:
    body = b"x" * 3_000_000
    async with loopback(reply()) as server:
        await client.send("POST", server.url, {}, body, CALM)
        assert server.exchanges[0].body == body
        assert server.exchanges[0].header("content-length") == "3000000"


LONG = bytes(30_000_000)

Refusal = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def reads_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(2**20):
        pass


async def reads_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def closes_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1_000_000)
    writer.close()


async def says_that_it_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof():
        writer.write_eof()
    await reads_on(reader, writer)


REFUSALS: dict[str, Refusal] = {
    "reads on": reads_on,
    "reads no more": reads_no_more,
    "closes": closes,
    "closes in the middle": closes_in_the_middle,
    "says that it ends": says_that_it_ends,
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("then", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("status", [413, 401])
async def test_an_answer_before_the_upload_is_over(
    library: str, authority: trustme.CA, files: Path, status: int, then: Refusal, secure: bool
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        await reader.readexactly(100_000)
        writer.write(b"HTTP/1.1 %d X\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nless" % status)
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            await then(reader, writer)
        await over.wait()
        writer.transport.abort()

    serving: list[asyncio.Task[None] | None] = []
    over = asyncio.Event()
    client = open_client(ClientSettings(client=library, ca_file=str(files / "ca.pem")))  # type: ignore[arg-type]
    tls = server_tls(authority) if secure else None
    async with await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=tls) as server:
        url = f"{'https' if secure else 'http'}://localhost:{server.sockets[0].getsockname()[1]}/"
        told = await client.send("POST", url, {}, LONG, CALM)
        assert (told.status, told.headers["retry-after"], told.body) == (status, "7", b"less")
        await client.aclose()
        over.set()
        await asyncio.gather(*filter(None, serving))


# Proxies


async def test_a_proxy_by_environment(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(reply(body=b"[1]")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        client = open_client(ClientSettings(client=library))  # type: ignore[arg-type]
        assert await post(client, "http://vendor.invalid/rerank") == (200, b"[1]")
        assert proxy.exchanges[0].line == "POST http://vendor.invalid/rerank HTTP/1.1"
        assert proxy.exchanges[0].header("proxy-authorization") == "Basic dXNlcjpwYXNz"
        await client.aclose()


async def test_no_proxy_by_environment(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(reply(500)) as proxy, loopback(reply()) as server:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "localhost")
        client = open_client(ClientSettings(client=library))  # type: ignore[arg-type]
        assert await post(client, server.url) == (200, b"{}")
        await client.aclose()


NO_PROXY = {
    "a range": "127.0.0.0/8",
    "an address and a port": "127.0.0.1:{port}",
    "everything": "*",
}


@pytest.mark.parametrize("no_proxy", NO_PROXY.values(), ids=NO_PROXY)
async def test_exceptions_from_the_proxy(library: str, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    async with loopback(reply(500)) as proxy, loopback(reply()) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=server.port))
        client = open_client(ClientSettings(client=library))  # type: ignore[arg-type]
        assert await post(client, f"http://127.0.0.1:{server.port}/") == (200, b"{}")
        await client.aclose()


async def test_another_port_is_no_exception(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(reply(body=b"[1]")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "vendor.invalid:8443,10.0.0.0/8")
        client = open_client(ClientSettings(client=library))  # type: ignore[arg-type]
        assert await post(client, "http://vendor.invalid:8080/rerank") == (200, b"[1]")
        await client.aclose()


async def test_a_proxy_by_setting(library: str) -> None:
    async with loopback(reply(body=b"[1]")) as proxy:
        client = open_client(ClientSettings(client=library, proxy=f"http://127.0.0.1:{proxy.port}"))  # type: ignore[arg-type]
        assert await post(client, "http://vendor.invalid/rerank") == (200, b"[1]")
        await client.aclose()


async def test_the_environment_can_be_ignored(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(reply(500)) as proxy, loopback(reply()) as server:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = open_client(ClientSettings(client=library, proxy="none"))  # type: ignore[arg-type]
        assert await post(client, server.url) == (200, b"{}")
        await client.aclose()


async def test_a_proxy_that_refuses_the_tunnel(library: str) -> None:
    async with loopback(reply(407)) as proxy:
        client = open_client(ClientSettings(client=library, proxy=f"http://u:s3cret@127.0.0.1:{proxy.port}"))  # type: ignore[arg-type]
        with pytest.raises(Unreachable, match=r"vendor\.invalid") as raised:
            await post(client, "https://vendor.invalid/rerank?tenant=hidden")
        assert proxy.exchanges[0].line == "CONNECT vendor.invalid:443 HTTP/1.1"
        assert not [secret for secret in SECRETS if secret in raised.value.message]
        await client.aclose()


async def test_a_proxy_that_speaks_socks(library: str) -> None:
    """RFC 1928: greeting, then a request to connect."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(b"\x05\x00")
        asked.append(await reader.readexactly(4 + 1 + len(b"vendor.invalid") + 2))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await reader.readuntil(b"confidential")
        writer.write(HEAD + b"content-length: 3\r\n\r\n[1]")
        writer.close()

    asked: list[bytes] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        client = open_client(ClientSettings(client=library, proxy=f"socks5://127.0.0.1:{port}"))  # type: ignore[arg-type]
        if library == "httpx":
            assert await post(client, "http://vendor.invalid/rerank") == (200, b"[1]")
            assert b"vendor.invalid" in asked[0]
        else:
            with pytest.raises(Unreachable, match="configure `client: httpx`"):
                await post(client, "http://vendor.invalid/rerank")
        await client.aclose()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ours = authority.issue_cert("gateway@example.com")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    ours.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in ours.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    return folder


def server_tls(authority: trustme.CA, host: str = "localhost", *, client_wanted: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    if client_wanted:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def over_tls(server: Loopback, **settings: str | None) -> tuple[int, bytes]:
    client = open_client(ClientSettings(**settings))  # type: ignore[arg-type]
    try:
        return await post(client, server.url)
    finally:
        await client.aclose()


async def test_a_custom_authority_is_trusted(library: str, authority: trustme.CA, files: Path) -> None:
    async with loopback(reply(), tls=server_tls(authority)) as server:
        assert await over_tls(server, client=library, ca_file=str(files / "ca.pem")) == (200, b"{}")


async def test_an_unknown_authority_is_not(library: str, authority: trustme.CA) -> None:
    async with loopback(reply(), tls=server_tls(authority)) as server:
        with pytest.raises(Unreachable, match=r"(?i)certificate|issuer"):
            await over_tls(server, client=library)
        assert not server.exchanges


async def test_a_certificate_for_another_name_is_not(library: str, authority: trustme.CA, files: Path) -> None:
    async with loopback(reply(), tls=server_tls(authority, "other.example")) as server:
        with pytest.raises(Unreachable, match=r"(?i)certificate|hostname"):
            await over_tls(server, client=library, ca_file=str(files / "ca.pem"))
        assert not server.exchanges


async def test_a_client_certificate_is_shown(library: str, authority: trustme.CA, files: Path) -> None:
    shown = {"client_cert": str(files / "cert.pem"), "client_key": str(files / "key.pem")}
    async with loopback(reply(), tls=server_tls(authority, client_wanted=True)) as server:
        assert await over_tls(server, client=library, ca_file=str(files / "ca.pem"), **shown) == (200, b"{}")


async def test_without_the_client_certificate_it_fails(library: str, authority: trustme.CA, files: Path) -> None:
    async with loopback(reply(), tls=server_tls(authority, client_wanted=True)) as server:
        with pytest.raises(Unreachable):
            await over_tls(server, client=library, ca_file=str(files / "ca.pem"))


async def test_a_tls_session_is_resumed(library: str, authority: trustme.CA, files: Path) -> None:
    async def resumed(exchange: Exchange) -> None:
        session = exchange.writer.get_extra_info("ssl_object")
        await reply(body=b"%d" % session.session_reused, connection="close")(exchange)
        exchange.close()

    client = open_client(ClientSettings(client=library, ca_file=str(files / "ca.pem")))  # type: ignore[arg-type]
    async with loopback(resumed, tls=server_tls(authority)) as server:
        assert await post(client, server.url) == (200, b"0")
        assert await post(client, server.url) == (200, b"1")
    await client.aclose()


async def test_many_tls_connections_at_once(library: str, authority: trustme.CA, files: Path) -> None:
    client = open_client(ClientSettings(client=library, ca_file=str(files / "ca.pem")))  # type: ignore[arg-type]
    async with loopback(reply(), tls=server_tls(authority)) as server:
        answers = await asyncio.gather(*(post(client, server.url) for _ in range(16)))
        assert answers == [(200, b"{}")] * 16
        assert server.connections == 16
    await client.aclose()


MISSING = {"authorities": {"ca_file": "/nowhere.pem"}, "certificate": {"client_cert": "/nowhere.pem"}}


@pytest.mark.parametrize("settings", MISSING.values(), ids=MISSING)
async def test_missing_certificate_files_are_found_at_once(library: str, settings: dict[str, str]) -> None:
    with pytest.raises(OSError, match=r"(?i)no such file"):
        open_client(ClientSettings(client=library, **settings))  # type: ignore[arg-type]


REMEMBERED = {"default": ("direct", "_endpoint_of"), "aiohttp": ("aiohttp_client", "_proxy")}


@pytest.mark.parametrize("library", REMEMBERED)
async def test_urls_that_callers_invent_do_not_fill_the_memory(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = REMEMBERED[library]
    monkeypatch.setattr(f"gateway.transport.{module}.MAX_URLS", 3)
    client = open_client(ClientSettings(client=library, proxy="none"))
    async with loopback(reply(body=b"[1]")) as server:
        for number in (*range(8), 7, 0):
            assert await post(client, f"http://localhost:{server.port}/models/{number}") == (200, b"[1]")
        await client.aclose()
    assert [sent.line.split()[1] for sent in server.exchanges] == [f"/models/{number}" for number in (*range(8), 7, 0)]
    remembered = getattr(client, name).cache_info()
    assert (remembered.currsize, remembered.hits) == (3, 1)


async def closing(exchange: Exchange) -> None:
    """Answers with the serial number of the caller's certificate, on a connection for this request alone."""
    shown = exchange.writer.get_extra_info("peercert") or {}
    await reply(body=str(shown.get("serialNumber", "")).encode(), connection="close")(exchange)
    exchange.close()


def write_ours(authority: trustme.CA, folder: Path, *, certificate: bool = True, key: bool = True) -> str:
    """Replace our certificate and its key, as a renewal does. Returns its serial number."""
    issued = authority.issue_cert("gateway@example.com")
    if certificate:
        (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    if key:
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    loaded = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    return f"{x509.load_der_x509_certificate(loaded).serial_number:X}"


async def test_a_rotated_authority_is_taken_in_place(library: str, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    file = tmp_path / "ca.pem"
    old.cert_pem.write_to_path(str(file))
    client = open_client(ClientSettings(client=library, ca_file=str(file)))  # type: ignore[arg-type]
    async with loopback(closing, tls=server_tls(old)) as first, loopback(closing, tls=server_tls(new)) as second:
        assert (await post(client, first.url))[0] == 200
        with pytest.raises(Unreachable):
            await post(client, second.url)
        new.cert_pem.write_to_path(str(file))
        assert (await post(client, second.url))[0] == 200
        with pytest.raises(Unreachable):
            await post(client, first.url)
    await client.aclose()


async def test_a_rotated_certificate_is_shown(library: str, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = {name: str(tmp_path / file) for name, file in FILES.items()}
    serials = [write_ours(authority, tmp_path)]
    client = open_client(ClientSettings(client=library, **files))  # type: ignore[arg-type]
    async with loopback(closing, tls=server_tls(authority, client_wanted=True)) as server:
        seen = [(await post(client, server.url))[1].decode()]
        serials.append(write_ours(authority, tmp_path))
        seen.append((await post(client, server.url))[1].decode())
        # A reload whose section has changed opens a client of its own.
        serials.append(write_ours(authority, tmp_path))
        reopened = open_client(ClientSettings(client=library, max_connections=7, **files))  # type: ignore[arg-type]
        seen.append((await post(reopened, server.url))[1].decode())
    assert [serial.lstrip("0") for serial in seen] == serials
    await client.aclose()
    await reopened.aclose()


FILES = {"ca_file": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"}

HALF_DONE: dict[str, Callable[[trustme.CA, Path], object]] = {
    "the key is still the old one": lambda authority, folder: write_ours(authority, folder, key=False),
    "the certificate is still the old one": lambda authority, folder: write_ours(authority, folder, certificate=False),
    "a file is gone": lambda _, folder: (folder / "cert.pem").unlink(),
    "a file is empty": lambda _, folder: (folder / "ca.pem").write_bytes(b""),
    "a file is half written": lambda _, folder: (folder / "cert.pem").write_bytes(
        (folder / "cert.pem").read_bytes()[:300]
    ),
}


@pytest.mark.parametrize("change", HALF_DONE.values(), ids=HALF_DONE)
async def test_files_that_cannot_be_used_change_nothing_until_they_can(
    library: str,
    authority: trustme.CA,
    tmp_path: Path,
    change: Callable[[trustme.CA, Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    serial = write_ours(authority, tmp_path)
    files = {name: str(tmp_path / file) for name, file in FILES.items()}
    client = open_client(ClientSettings(client=library, **files))  # type: ignore[arg-type]
    async with loopback(closing, tls=server_tls(authority, client_wanted=True)) as server:
        await post(client, server.url)
        change(authority, tmp_path)
        for _ in range(2):
            assert (await post(client, server.url))[1].decode().lstrip("0") == serial
        assert caplog.text.count("previous TLS files stay in use") == 1
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        renewed = write_ours(authority, tmp_path)
        assert (await post(client, server.url))[1].decode().lstrip("0") == renewed
    await client.aclose()
