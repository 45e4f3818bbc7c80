"""Keys, limits and budgets change with the configuration, and what was counted stays counted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import loader as configuration
from gateway.config.root import Config
from gateway.errors import Unauthorized
from gateway.runtime import reload
from gateway.runtime.ranking import rank
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from gateway.telemetry.exchange import Exchange
from providers.types import RerankRequest
from tests.gateway.access.conftest import UPSTREAM, Upstream, key


class Live:
    """A service whose configuration is a file."""

    def __init__(self, path: Path, **sections: Any) -> None:
        self.path = path
        self.write(**sections)
        self.service = Service(self.read())
        self.reloader = Reloader(self.service, path, self.read)

    def write(self, **sections: Any) -> None:
        providers = {"cohere": {"base_url": UPSTREAM, "api_key": "k"}}
        self.path.write_text(yaml.safe_dump({"providers": providers, **sections}))

    def read(self) -> Config:
        return configuration.load(self.path, {})

    async def ask(self, secret: str) -> None:
        assert self.service.keys is not None
        caller = self.service.keys.find(secret)
        request = RerankRequest(model="cohere/rerank-v3.5", query="q", documents=["a"])
        await rank(self.service, caller, request, None, Exchange("unified", request.call, 0.0))


async def test_a_key_is_let_in_and_shut_out_by_a_reload(tmp_path: Path, upstream: Upstream) -> None:
    (old, before), (new, after) = key("old"), key("new")
    live = Live(tmp_path / "gateway.yaml", auth={"keys": [before]})
    await live.service.open()
    await live.ask(old)
    live.write(auth={"keys": [after]})
    assert await live.reloader.reload()
    await live.ask(new)
    with pytest.raises(Unauthorized):
        await live.ask(old)
    await live.service.aclose()


async def test_a_key_is_shut_out_when_its_own_file_changes(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "POLL_INTERVAL", 0.001)
    (old, before), (_, after) = key("old"), key("new")
    keys = tmp_path / "keys.yaml"
    keys.write_text(yaml.safe_dump({"keys": [before]}))
    live = Live(tmp_path / "gateway.yaml", auth={"file": "keys.yaml"})
    await live.service.open()
    watching = asyncio.create_task(live.reloader.watch())
    await live.ask(old)
    keys.write_text(yaml.safe_dump({"keys": [after]}))
    async with asyncio.timeout(10):
        while not await _is_refused(live, old):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # a file tells nobody that it has changed
    watching.cancel()
    await live.service.aclose()


async def _is_refused(live: Live, secret: str) -> bool:
    try:
        await live.ask(secret)
    except Unauthorized:
        return True
    return False


async def test_what_was_counted_stays_counted_over_a_reload(tmp_path: Path, upstream: Upstream) -> None:
    secret, entry = key(limits={"requests": "2/hour"}, budget={"usd": 1})
    live = Live(tmp_path / "gateway.yaml", auth={"keys": [entry]})
    await live.service.open()
    await live.ask(secret)
    live.write(auth={"keys": [{**entry, "limits": {"requests": "3/hour"}}]})
    assert await live.reloader.reload()
    taken = [await _outcome(live, secret) for _ in range(3)]
    assert taken == ["served", "served", "LimitReached"]
    await live.service.aclose()


async def test_a_reload_never_opens_a_reachable_gateway_to_everybody(tmp_path: Path, upstream: Upstream) -> None:
    secret, entry = key()
    server = {"host": "0.0.0.0", "port": 1}
    live = Live(tmp_path / "gateway.yaml", auth={"keys": [entry]}, server=server)
    await live.service.open()
    live.write(server=server)
    assert not await live.reloader.reload()
    assert live.service.keys is not None
    await live.ask(secret)
    await live.service.aclose()


async def _outcome(live: Live, secret: str) -> str:
    try:
        await live.ask(secret)
    except Exception as error:
        return type(error).__name__
    return "served"
