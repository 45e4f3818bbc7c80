"""Limits that servers tell of themselves: which of several is believed, and how long a request waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

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


async def test_a_request_that_is_given_up_leaves_no_question_behind() -> None:
    servers = Servers([None, None])
    asking = asyncio.create_task(limits(servers).ask())
    while servers.waiting < 2:  # noqa: ASYNC110  # there is nothing else to wait for
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert servers.waiting == 0


async def test_an_answer_is_kept_for_the_requests_that_wait_with_it() -> None:
    servers = Servers([b"32", b"32"])
    own = limits(servers)
    assert {told and told.documents for told in await asyncio.gather(*(own.ask() for _ in range(20)))} == {32}
    assert servers.asked <= 2
