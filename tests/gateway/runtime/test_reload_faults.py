"""Reloads that hang, fail or are overtaken: keys come first, the newest file wins, and what may pass is tried again."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.backends.local import LocalBackend
from gateway.backends.model_loads import ModelLoads
from gateway.config.loader import from_tree
from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.routing.kinds.local import MODEL_LOADS
from gateway.runtime import reload
from gateway.runtime.backoff import FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, RetryBackoff
from gateway.runtime.reload import Reloader
from gateway.runtime.service import Service
from providers.errors import NotReady
from providers.spec import LocalModel, LocalProvider
from providers.types import Ranking, RerankRequest

HASHES = {"old": "sha256:" + "0" * 64, "new": "sha256:" + "1" * 64}


class Engine:
    closed = False

    async def rerank(self, request: RerankRequest) -> Ranking:
        raise NotImplementedError

    async def ready(self) -> bool:
        return not self.closed

    async def aclose(self) -> None:
        self.closed = True


class Shelf:
    """Local models. One whose path begins with `slow` loads when its gate opens; `refused` raises the error."""

    def __init__(self) -> None:
        self.gate, self.begun = threading.Event(), threading.Event()
        self.error: Exception | None = NotReady("no such weights")
        self.engines: list[Engine] = []
        self.loads: list[str] = []

    def open(self, model: LocalModel) -> Engine:
        self.loads.append(model.path)
        self.begun.set()
        if model.path.startswith("slow"):
            assert self.gate.wait(30)
        if model.path == "refused" and self.error is not None:
            raise self.error
        self.engines.append(Engine())
        return self.engines[-1]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class CountedBackoff(RetryBackoff):
    failures = 0

    def failed(self) -> None:
        super().failed()
        self.failures += 1


class Live:
    """A service whose configuration is what the test says, and its reloader, which watches."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self.shelf, self.clock = shelf, Clock()
        self.file = folder / "gateway.yaml"
        self.error: Exception | None = None
        self.reads = self.version = 0
        self.write("old")
        self.service = Service(self._read())
        self.backoff = CountedBackoff(self.clock)
        self.reloader = Reloader(self.service, self.file, self._read, self.backoff)

    def write(self, key: str, **models: str) -> None:
        self.tree: dict[str, Any] = {"auth": {"keys": [{"name": key, "hash": HASHES[key]}]}}
        self.tree["providers"] = {"passthrough": {}}
        if models:
            self.tree["providers"]["local"] = {"models": {name: {"path": path} for name, path in models.items()}}
        self.version += 1
        self.file.write_text("#" * self.version)

    def _read(self) -> Config:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return from_tree(self.tree)

    def keys(self) -> list[str]:
        auth = self.service.config.auth
        return [key.name for key in auth.keys] if auth and self.service.keys else []

    def models(self) -> list[str]:
        return [model.model.path for model in self.service.routes.local_models()]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  files and threads tell nobody
            await asyncio.sleep(0.001)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    provider = LocalProvider(
        name="local", fields=frozenset(), missing=lambda: "", problems=lambda model: [], open=made.open
    )
    monkeypatch.setattr("providers.adapters.local.PROVIDER", provider)
    return made


@pytest.fixture
async def live(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    monkeypatch.setattr(reload, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(reload, "SETTLE_SECONDS", 0.001)
    made = Live(tmp_path, shelf)
    await made.service.open()
    made.reloader.start()
    yield made
    shelf.gate.set()
    await made.reloader.aclose()
    await made.service.aclose()


@pytest.mark.parametrize("path", ["slow", "refused"])
async def test_keys_take_effect_before_models_and_without_them(live: Live, path: str) -> None:
    live.write("new", m=path)
    await until(lambda: live.keys() == ["new"])
    await until(live.shelf.begun.is_set)
    assert live.models() == []


async def test_a_file_with_an_error_changes_no_keys(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.error = ConfigError([Problem("modls", "unknown")])
    live.write("new")
    await until(lambda: "was not reloaded" in caplog.text)
    assert live.keys() == ["old"]


@pytest.mark.parametrize("tree", [{}, {"providers": {"passthrough": {}}}], ids=["emptied", "cut short"])
async def test_a_file_without_auth_takes_no_keys_away(live: Live, tree: Any, caplog: pytest.LogCaptureFixture) -> None:
    live.write("new")
    live.tree = tree
    await until(lambda: "was not reloaded" in caplog.text)
    assert live.keys() == ["old"]
    assert "auth: is missing, and keys were required so far" in caplog.text


async def test_keys_are_taken_away_by_auth_none(live: Live) -> None:
    live.write("new")
    live.tree["auth"] = "none"
    await until(lambda: not live.keys())
    assert live.service.keys is None


async def test_the_log_says_what_is_in_force(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.write("new", m="refused")
    await until(lambda: "was not reloaded" in caplog.text)
    assert "stays in force, except that the keys are the new ones: " in caplog.text


@pytest.mark.parametrize(
    ("models", "served"),
    [
        pytest.param({}, [], id="the model is gone again"),
        pytest.param({"m": "quick"}, ["quick"], id="another model"),
        pytest.param({"n": "quick"}, ["quick"], id="another name"),
    ],
)
async def test_a_newer_file_cancels_the_reload_under_way(live: Live, models: Any, served: list[str]) -> None:
    live.write("old", m="slow")
    await until(live.shelf.begun.is_set)
    live.write("new", **models)
    await until(lambda: live.keys() == ["new"] and live.models() == served)
    live.shelf.gate.set()
    await until(lambda: len(live.shelf.engines) == 1 + len(served))
    # The model that nobody wants any more is closed when it is there.
    await until(lambda: [engine.closed for engine in live.shelf.engines].count(True) == 1)
    assert all([await model.ready() for model in live.service.routes.local_models()])


async def test_a_model_that_is_still_wanted_is_loaded_once_however_often_the_file_changes(live: Live) -> None:
    live.write("old", m="slow")
    await until(live.shelf.begun.is_set)
    for _ in range(5):
        reads = live.reads
        live.write("new", m="slow")
        await until(lambda reads=reads: live.reads > reads and not MODEL_LOADS._abandoned)  # type: ignore[misc]
    live.shelf.gate.set()
    await until(lambda: live.models() == ["slow"])
    assert live.shelf.loads == ["slow"]
    assert not live.shelf.engines[0].closed


PASSING: dict[str, Exception] = {
    "a model that is not there yet": NotReady("could not be downloaded"),
    "no memory": MemoryError(),
    "a file that cannot be read": OSError("stale file handle"),
    "a file that is not whole": ConfigError([Problem("modls", "unknown")]),
    "whatever else": ValueError("not foreseen"),
}


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("where", ["while it is read", "while a model is loaded"])
async def test_what_failed_is_tried_again_without_a_change(
    live: Live, error: Exception, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    live.shelf.error = error
    live.error = error if where == "while it is read" else None
    live.write("old", m="refused")
    for failures in (1, 2, 3):
        await until(lambda failures=failures: live.backoff.failures == failures)  # type: ignore[misc]
        if failures == 3:
            live.error = live.shelf.error = None
        live.clock.now += MAX_RETRY_SECONDS
    await until(lambda: live.models() == ["refused"])
    assert caplog.text.count("was not reloaded") == 1, "the same reason is said once"


ASKED: dict[str, Callable[[Live], Any]] = {
    "by a signal": lambda live: live.reloader.request(),
    "by an operator": lambda live: live.reloader.reload(),
    "by saving the file": lambda live: live.write("old", m="refused"),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
async def test_whoever_asks_is_answered_though_the_reason_is_the_same(
    live: Live, ask: Callable[[Live], Any], caplog: pytest.LogCaptureFixture
) -> None:
    live.write("old", m="refused")
    await until(lambda: live.backoff.failures == 1)
    live.clock.now += MAX_RETRY_SECONDS
    await until(lambda: live.backoff.failures == 2)
    assert caplog.text.count("was not reloaded") == 1
    if asked := ask(live):
        await asked
    await until(lambda: live.backoff.failures == 3)
    assert caplog.text.count("was not reloaded") == 2
    assert {getattr(record, "fields", {}).get("pid") for record in caplog.records} == {os.getpid()}


@pytest.mark.parametrize(("part_of", "told"), [(None, ["nothing changed"]), ("the engine process", [])])
async def test_a_process_that_serves_a_part_is_silent_about_the_rest(
    part_of: str | None, told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "gateway.yaml").write_text("#")
    config = from_tree({"providers": {"passthrough": {}}})
    service = Service(config)
    await service.open()
    caplog.set_level("INFO")
    assert await Reloader(service, tmp_path / "gateway.yaml", lambda: config, part_of=part_of).reload()
    found = [record for record in caplog.records if getattr(record, "event", "") == "reloaded"]
    assert [record.fields["changes"] for record in found] == told  # type: ignore[attr-defined]
    await service.aclose()


def test_the_pauses_between_tries_double_up_to_a_limit() -> None:
    clock = Clock()
    backoff = RetryBackoff(clock)
    assert not backoff.is_due()
    pauses = []
    for _ in range(12):
        backoff.failed()
        before = clock.now
        while not backoff.is_due():
            clock.now += 1
        assert not backoff.is_due(), "once for each failure"
        pauses.append(clock.now - before)
    assert pauses[:4] == [FIRST_RETRY_SECONDS * 2**number for number in range(4)]
    assert pauses[-1] == MAX_RETRY_SECONDS
    backoff.failed()
    backoff.reset()
    clock.now += MAX_RETRY_SECONDS
    assert not backoff.is_due()


async def test_two_equal_models_of_two_providers_are_loaded_twice(shelf: Shelf) -> None:
    loads, model = ModelLoads(), LocalModel(name="m", path="slow")
    both = [asyncio.create_task(loads.open(shelf.open, model)) for _ in range(2)]
    await until(lambda: len(shelf.loads) == 2)
    shelf.gate.set()
    first, second = await asyncio.gather(*both)
    assert first is not second


async def test_a_backend_that_is_closed_while_its_model_loads_closes_it(shelf: Shelf) -> None:
    backend = LocalBackend(partial(ModelLoads().open, shelf.open), LocalModel(name="m", path="slow"))
    loading = asyncio.create_task(backend.load())
    await until(shelf.begun.is_set)
    await backend.aclose()
    shelf.gate.set()
    await loading
    assert shelf.engines[0].closed
    assert not await backend.ready()
