"""Limits that servers tell of themselves: which of several is believed, and how long a request waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.backends import server_limits
from gateway.backends.auth import open_signer
from gateway.backends.server_limits import ServerLimits
from gateway.transport.base import Response
from providers.capabilities import Limits
from providers.errors import Unreachable
from providers.spec import Bearer, LimitsApi

API = LimitsApi(path="/info", decode=lambda body: Limits(documents=int(body)))
NEVER = 3600.0


class Servers:
    """A client to servers that each have one thing to say: a body, an error, or nothing for ever.

    Attributes:
        waiting: questions that have no answer yet.
    """

    def __init__(self, says: list[bytes | Exception | None]) -> None:
        self.urls = [f"http://server-{place}/info" for place in range(len(says))]
        self._says = dict(zip(self.urls, says, strict=True))
        self.asked = self.waiting = 0

    async def send(self, method: str, url: str, *_: Any) -> Response:
        self.asked += 1
        self.waiting += 1
        try:
            await asyncio.sleep(NEVER if self._says[url] is None else 0)
        finally:
            self.waiting -= 1
        said = self._says[url]
        if isinstance(said, Exception):
            raise said
        return Response(200, {}, said or b"")


def limits(servers: Servers) -> ServerLimits:
    client: Any = servers
    return ServerLimits("tei", servers.urls, API, client, open_signer(Bearer(), None))


DEAD = Unreachable("dead")
TOLD: dict[str, tuple[list[bytes | Exception | None], int | None]] = {
    "one": ([b"32"], 32),
    "one that is dead": ([DEAD], None),
    "the first is dead": ([DEAD, b"32"], 32),
    "the first says nothing sensible": ([b"none", b"32"], 32),
    "most say nothing at all": ([None] * 63 + [b"32"], 32),
    "none says anything sensible": ([DEAD, b"none", DEAD], None),
}


@pytest.mark.parametrize(("says", "documents"), TOLD.values(), ids=TOLD)
async def test_who_answers_is_believed_and_nobody_waits_for_the_others(
    monkeypatch: pytest.MonkeyPatch, says: list[bytes | Exception | None], documents: int | None
) -> None:
    monkeypatch.setattr(server_limits, "ASK_TIMEOUT", NEVER)
    servers = Servers(says)
    async with asyncio.timeout(30):
        told = await limits(servers).ask()
    assert (told and told.documents) == documents
    assert servers.waiting == 0


async def until_asked(servers: Servers, questions: int) -> None:
    while servers.waiting < questions:  # noqa: ASYNC110  # there is nothing else to wait for
        await asyncio.sleep(0)


async def test_the_question_goes_on_when_nobody_has_time_left_and_its_end_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_limits, "ASK_TIMEOUT", 0.01)
    servers = Servers([None, None])
    own = limits(servers)
    for _ in range(3):
        asking = asyncio.create_task(own.ask())
        await until_asked(servers, 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await own.ask() is None
    assert (servers.asked, servers.waiting) == (2, 0), "one question, which has ended"
    assert await own.ask() is None
    assert servers.asked == 2, "that there was no answer is known"


async def test_an_answer_that_came_too_late_for_one_request_serves_the_next() -> None:
    servers = Servers([b"32"])
    own = limits(servers)
    asking = asyncio.create_task(own.ask())
    await until_asked(servers, 1)
    asking.cancel()
    told = await own.ask()
    assert (told and told.documents, servers.asked) == (32, 1)


async def test_a_gateway_that_stops_leaves_no_question_behind() -> None:
    servers = Servers([None, None])
    own = limits(servers)
    asking = asyncio.create_task(own.ask())
    await until_asked(servers, 2)
    await own.aclose()
    assert (await asking, servers.waiting) == (None, 0)
    await own.aclose()


async def test_nothing_is_asked_of_a_closed_one_that_was_never_used() -> None:
    servers = Servers([None])
    await limits(servers).aclose()
    assert servers.asked == 0


def fail(body: bytes) -> Limits:
    raise RuntimeError


WRONG: dict[str, tuple[LimitsApi, bytes]] = {
    "deep JSON": (LimitsApi(path="/info", decode=msgspec.json.decode), b"[" * 50_000 + b"]" * 50_000),
    "half of it": (LimitsApi(path="/info", decode=msgspec.json.decode), b"{"),
    "a decoder that fails": (LimitsApi(path="/info", decode=fail), b"32"),
    "nothing": (API, b""),
    "too many bytes": (API, b"32" + b" " * server_limits.MAX_ANSWER_BYTES),
}


@pytest.mark.parametrize(("api", "body"), WRONG.values(), ids=WRONG)
async def test_an_answer_that_cannot_be_read_is_none(api: LimitsApi, body: bytes) -> None:
    servers = Servers([body])
    client: Any = servers
    own = ServerLimits("tei", servers.urls, api, client, open_signer(Bearer(), None))
    assert [await own.ask() for _ in range(2)] == [None, None]
    assert servers.asked == 1


async def test_an_answer_is_kept_for_the_requests_that_wait_with_it() -> None:
    servers = Servers([b"32", b"32"])
    own = limits(servers)
    assert {told and told.documents for told in await asyncio.gather(*(own.ask() for _ in range(20)))} == {32}
    assert servers.asked <= 2
