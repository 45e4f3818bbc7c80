"""What only the direct client does: its pool, its clocks, its way to a server. What every client does: test_clients."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohappyeyeballs
import pytest

from gateway.transport.base import ClientSettings, Response, Timeouts
from gateway.transport.direct import DirectClient
from providers.errors import AnswerBroken, RerankError, TargetTimeout, Unreachable
from tests.gateway.loopback import Answer, Exchange, Loopback, hang, loopback, raw, reply, then_close

CALM = Timeouts(connect=30, read=30, pool=30, total=30)
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def client() -> AsyncIterator[DirectClient]:
    opened = DirectClient(ClientSettings(proxy="none"))
    yield opened
    await opened.aclose()


async def post(client: DirectClient, url: str, body: bytes = b"{}", timeouts: Timeouts = CALM) -> Response:
    return await client.send("POST", url, {"accept": "*/*"}, body, timeouts)


async def test_the_whole_request(client: DirectClient) -> None:
    async with loopback(reply()) as server:
        await post(client, server.url)
        assert server.exchanges[0].head == (
            f"POST /rerank?tenant=hidden HTTP/1.1\r\nhost: localhost:{server.port}\r\n"
            "accept: */*\r\ncontent-length: 2\r\n\r\n"
        )


async def test_a_get_has_no_body(client: DirectClient) -> None:
    async with loopback(reply()) as server:
        await client.send("GET", server.url, {}, b"", CALM)
        assert server.exchanges[0].head.startswith("GET /rerank?tenant=hidden HTTP/1.1\r\n")
        assert server.exchanges[0].header("content-length") is None


URLS = {
    "a name": ("http://localhost:{port}/v1", "POST /v1 HTTP/1.1", "localhost:{port}"),
    "no path": ("http://localhost:{port}", "POST / HTTP/1.1", "localhost:{port}"),
    "an address": ("http://127.0.0.1:{port}/v1", "POST /v1 HTTP/1.1", "127.0.0.1:{port}"),
    "letters beyond ASCII": (
        "http://localhost:{port}/größe?a b", "POST /gr%C3%B6%C3%9Fe?a%20b HTTP/1.1", "localhost:{port}",
    ),
    "capitals": ("HTTP://LocalHost:{port}/V1", "POST /V1 HTTP/1.1", "localhost:{port}"),
}  # fmt: skip


@pytest.mark.parametrize(("url", "line", "host"), URLS.values(), ids=URLS)
async def test_a_url_leads_to_its_server(client: DirectClient, url: str, line: str, host: str) -> None:
    async with loopback(reply()) as server:
        await post(client, url.format(port=server.port))
        sent = server.exchanges[0]
        assert (sent.line, sent.header("host")) == (line, host.format(port=server.port))


async def test_a_server_that_does_not_read_ends_at_the_deadline(client: DirectClient) -> None:
    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    over = asyncio.Event()
    async with await asyncio.start_server(idle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TargetTimeout, match=r"within 0\.1 s"):
            await post(client, f"http://127.0.0.1:{port}/", bytes(30_000_000), Timeouts(total=0.1))
        over.set()


async def test_what_a_server_says_unasked_is_no_answer(client: DirectClient) -> None:
    """Some say 408 before they close an idle connection."""
    async with loopback(reply(body=b"[1]"), reply(body=b"[2]")) as server:
        await post(client, server.url)
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await asyncio.wait_for(server.gone.wait(), 30)
        assert (await post(client, server.url)).body == b"[2]"
        assert server.connections == 2


async def test_a_connection_that_was_idle_for_too_long_is_closed() -> None:
    client = DirectClient(ClientSettings(proxy="none", keepalive=0.02))
    async with loopback(reply()) as server:
        await post(client, server.url)
        await asyncio.wait_for(server.gone.wait(), 30)
        await post(client, server.url)
        assert server.connections == 2
    await client.aclose()


async def test_a_clock_of_an_earlier_call_does_not_end_a_later_one(client: DirectClient) -> None:
    """And a later one that has less time is not left to an earlier one's clock."""

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.6)
        await reply()(exchange)

    async with loopback(reply(), slowly, hang) as server:
        await post(client, server.url, timeouts=Timeouts(total=0.5))
        await post(client, server.url, timeouts=CALM)
        with pytest.raises(TargetTimeout, match=r"within 0\.05 s"):
            await post(client, server.url, timeouts=Timeouts(total=0.05))
        assert server.connections == 1


UNDER_WAY: dict[str, tuple[list[Answer], type[RerankError]]] = {
    "on a fresh connection": ([hang], Unreachable),
    "on a used connection": ([reply(), hang], Unreachable),
    "in an answer that ends with its connection": ([raw(HEAD + b"\r\n{half of")], AnswerBroken),
}


@pytest.mark.parametrize(("answers", "error"), UNDER_WAY.values(), ids=UNDER_WAY)
async def test_closing_ends_what_is_under_way(
    client: DirectClient, answers: list[Answer], error: type[RerankError]
) -> None:
    async with loopback(*answers) as server:
        for _ in answers[1:]:
            await post(client, server.url)
        server.arrived.clear()
        call = asyncio.create_task(post(client, server.url))
        await server.arrived.wait()
        await asyncio.sleep(0.02)
        await client.aclose()
        with pytest.raises(error):
            await asyncio.wait_for(call, 30)
        assert len(server.exchanges) == len(answers)


async def test_nothing_is_opened_after_closing(client: DirectClient) -> None:
    async with loopback(reply()) as server:
        early = asyncio.create_task(post(client, server.url))
        await asyncio.sleep(0)
        await client.aclose()
        for call in (early, post(client, server.url)):
            with pytest.raises(Unreachable):
                await call
        assert not server.exchanges


async def test_any_number_of_stale_connections() -> None:
    """More of them than calls may be nested."""
    client = DirectClient(ClientSettings(proxy="none", keepalive=60))
    async with loopback(reply()) as server:
        await post(client, server.url)
        (origin,) = client._pool._origins.values()
        (connection,) = origin.idle
        origin.idle.clear()
        origin.idle.update(dict.fromkeys([_Stale() for _ in range(5000)], float("-inf")))  # type: ignore[misc]
        assert (await post(client, server.url)).status == 200
        connection.close()
    await client.aclose()


class _Stale:
    def close(self) -> None:
        """Nothing is open."""


async def test_what_a_server_says_too_early_is_no_answer(client: DirectClient) -> None:
    """Before the request has been written, within the same turn of the event loop."""
    async with loopback(reply(body=b"[1]"), reply(body=b"[2]"), reply(body=b"[3]")) as server:
        await post(client, server.url)
        (origin,) = client._pool._origins.values()
        (connection,) = origin.idle
        call = asyncio.create_task(post(client, server.url))
        await asyncio.sleep(0)
        connection.data_received(HEAD + b"content-length: 3\r\n\r\n[0]")
        assert (await call).body == b"[2]"
        assert (await post(client, server.url)).body == b"[3]"
        assert server.connections == 2


async def test_a_host_header_of_the_operators_replaces_ours(client: DirectClient) -> None:
    async with loopback(reply()) as server:
        await client.send("POST", server.url, {"host": "virtual.example"}, b"{}", CALM)
        assert server.exchanges[0].head.lower().count("host:") == 1
        assert server.exchanges[0].header("host") == "virtual.example"


CANNOT_BE = {
    "an empty label": "http://a..b/",
    "half of an address": "http://[::1/",
    "a control character": "http://x\x00y/",
}


@pytest.mark.parametrize("url", CANNOT_BE.values(), ids=CANNOT_BE)
async def test_a_url_that_cannot_be(client: DirectClient, url: str) -> None:
    with pytest.raises(Unreachable):
        await post(client, url)


@pytest.mark.parametrize("value", ["\ud800", "b\r\nx-c: d", "b\nx-c: d", "b\rc"], ids=ascii)
async def test_a_header_that_cannot_be_sent(client: DirectClient, value: str) -> None:
    async with loopback(reply()) as server:
        with pytest.raises(Unreachable, match="cannot be sent"):
            await client.send("POST", server.url, {"x-a": value}, b"{}", CALM)
        assert not server.exchanges


async def test_a_call_cancelled_in_the_queue_leaves_its_place(client: DirectClient) -> None:
    client = DirectClient(ClientSettings(proxy="none", max_connections=1))
    async with loopback(hang, reply()) as server:
        first = asyncio.create_task(post(client, server.url))
        await server.arrived.wait()
        second = asyncio.create_task(post(client, server.url))
        await asyncio.sleep(0)
        for call in (second, first):
            call.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert (await post(client, server.url)).status == 200
    await client.aclose()


ENCODINGS: dict[str, tuple[str, bytes, str | None]] = {
    "none": ("identity", b"{}", None),
    "of nothing": ("gzip", b"", None),
    "not asked for": ("br", b"\x0b\x00\x80{}\x03", "in the content coding br, but was asked for gzip"),
    "of no name": ("", b"{}", None),
    "with more behind it": ("gzip", gzip.compress(b"{}") + b"{}", "broke off its answer"),
    "cut off": ("gzip", bytes.fromhex("1f8b08000000000000ffabae05"), "broke off its answer"),
}


@pytest.mark.parametrize(("encoding", "body", "fault"), ENCODINGS.values(), ids=ENCODINGS)
async def test_an_encoding(client: DirectClient, encoding: str, body: bytes, fault: str | None) -> None:
    async with loopback(reply(body=body, content_encoding=encoding)) as server:
        if fault is None:
            assert (await post(client, server.url)).body == body
        else:
            with pytest.raises(RerankError, match=fault):
                await post(client, server.url)


class Names:
    """A name service that counts, and says what it is told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    told = Names("127.0.0.1")
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", lambda _, *args, **kw: told.getaddrinfo(*args, **kw))
    return told


async def burst(client: DirectClient, server: Loopback, calls: int) -> None:
    await asyncio.gather(*(post(client, f"http://upstream.test:{server.port}/") for _ in range(calls)))


async def test_connections_opened_at_once_share_a_look_up(client: DirectClient, names: Names) -> None:
    async with loopback(then_close(HEAD + b"content-length: 0\r\n\r\n")) as server:
        await burst(client, server, 8)
        await burst(client, server, 8)
        assert (server.connections, names.asked) == (16, 1)


async def test_the_next_address_serves_where_the_first_does_not(client: DirectClient, names: Names) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.1")
    async with loopback(reply()) as server:
        await burst(client, server, 1)
        assert server.connections == 1


async def test_servers_of_one_name_take_turns(client: DirectClient, names: Names) -> None:
    names.addresses = ("127.0.0.1", "127.0.0.1", "127.0.0.2")
    asked: list[str] = []
    whole = aiohappyeyeballs.start_connection

    async def started(addresses: list[Any], **options: Any) -> socket.socket:
        asked.append(addresses[0][4][0])
        return await whole(addresses, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aiohappyeyeballs, "start_connection", started)
        async with loopback(then_close(HEAD + b"content-length: 0\r\n\r\n")) as server:
            for _ in range(6):
                await burst(client, server, 1)
    assert sorted(asked) == ["127.0.0.1"] * 4 + ["127.0.0.2"] * 2


async def test_a_server_that_moved_is_looked_up_again(client: DirectClient, names: Names) -> None:
    names.addresses = ("127.0.0.2",)
    async with loopback(reply()) as server:
        with pytest.raises(Unreachable, match="could not connect"):
            await burst(client, server, 1)
        names.addresses = ("127.0.0.1",)
        await burst(client, server, 1)
        assert names.asked == 2


async def test_a_name_that_comes_to_be_known(client: DirectClient, names: Names) -> None:
    names.addresses = ()
    async with loopback(reply()) as server:
        with pytest.raises(Unreachable, match="could not be resolved"):
            await burst(client, server, 1)
        names.addresses = ("127.0.0.1",)
        await burst(client, server, 1)


async def test_an_answer_in_many_pieces(client: DirectClient) -> None:
    body = bytes(range(256)) * 8192
    async with loopback(raw(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)) as server:
        assert (await post(client, server.url)).body == body
