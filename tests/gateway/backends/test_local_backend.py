"""Local models from start to end: loading, ready, failed; and what callers hear meanwhile."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import httpx
import pytest

from gateway.backends.daemon_thread import in_daemon
from gateway.backends.local import LocalBackend
from providers.errors import NotReady, RerankError
from providers.spec import LocalModel, LocalProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage

ASKED: dict[str, Any] = {"model": "local/m", "query": "q", "documents": ["a", "b"]}


class Engine:
    """What a loaded model is to the gateway."""

    closed = False
    well = True

    async def rerank(self, request: RerankRequest) -> Ranking:
        return Ranking(
            results=[Ranked(index, float(index)) for index in range(len(request.documents))],
            usage=Usage(prompt_tokens=3, total_tokens=3),
            details={"queue_ms": 0.5},
        )

    async def ready(self) -> bool:
        return self.well and not self.closed

    async def aclose(self) -> None:
        self.closed = True


class Shelf:
    """A local provider whose models load when the test says so.

    Attributes:
        release: set, models load; until then loading blocks its thread.
        error: raised instead of giving an engine.
        opened: the engines so far.
    """

    def __init__(self) -> None:
        self.release = threading.Event()
        self.error: Exception | None = None
        self.opened: list[Engine] = []
        self.provider = LocalProvider(
            name="local", fields=frozenset(), missing=lambda: "", problems=lambda model: [], open=self.open
        )

    def open(self, model: LocalModel) -> Engine:
        assert self.release.wait(30)
        if self.error:
            raise self.error
        self.opened.append(Engine())
        return self.opened[-1]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch):
    made = Shelf()
    monkeypatch.setattr("providers.adapters.local.PROVIDER", made.provider)
    yield made
    made.release.set()


def settings(upstream: Any) -> dict[str, Any]:
    return {
        "providers": {"local": {"models": {"m": {"path": "x"}}}, "vllm": {"base_url": upstream.url}},
        "models": {"safe": {"target": "local/m", "fallbacks": ["vllm/m"]}},
    }


async def until_ready(gateway: Any) -> None:
    while (await gateway.get("/readyz")).json().get("status") != "ready":  # noqa: ASYNC110  # what is waited for is HTTP
        await asyncio.sleep(0)


async def test_a_model_that_is_loading_is_answered_503_and_falls_back(opened, upstream, shelf) -> None:
    gateway = await opened(settings(upstream))
    refused = await gateway.post("/v1/rerank", json=ASKED)
    assert (refused.status_code, refused.json()["error_type"]) == (503, "not_ready")
    assert refused.json()["message"] == "local model m is still loading; try again shortly"
    served = await gateway.post("/v1/rerank", json={**ASKED, "model": "safe"})
    assert served.json()["extra_fields"]["provider"] == "vllm"


async def test_where_keys_are_asked_for_a_probe_tells_no_names(opened, upstream, shelf) -> None:
    auth = {"keys": [{"name": "a", "hash": "sha256:" + "0" * 64}]}
    unnamed = "a local model is not ready; see /v1/status for its name"
    gateway = await opened({**settings(upstream), "auth": auth})
    assert (await gateway.get("/readyz")).json() == {"status": "degraded", "detail": unnamed}
    assert (await gateway.get("/startupz")).json()["message"] == unnamed
    shelf.release.set()
    await until_ready(gateway)


async def test_the_probes_tell_living_from_ready(opened, upstream, shelf) -> None:
    gateway = await opened(settings(upstream))
    assert (await gateway.get("/livez")).json() == {"status": "ok"}
    for path in ("/readyz", "/health"):
        waiting = await gateway.get(path)
        assert waiting.status_code == 200, "the vendor can be asked"
        assert waiting.json() == {"status": "degraded", "detail": "local model m is still loading"}
    assert (await gateway.get("/startupz")).status_code == 503
    shelf.release.set()
    await until_ready(gateway)
    assert (await gateway.get("/health")).json() == {"status": "ready"}


LOCAL_ONLY = {"providers": {"local": {"models": {"m": {"path": "x"}, "n": {"path": "y"}}}}}


async def test_without_anything_to_serve_the_gateway_is_not_ready(opened, shelf) -> None:
    gateway = await opened(LOCAL_ONLY)
    waiting = await gateway.get("/readyz")
    reasons = "local model m is still loading; local model n is still loading"
    assert (waiting.status_code, waiting.json()["message"]) == (503, reasons)
    shelf.release.set()
    await until_ready(gateway)


async def test_one_model_of_two_is_enough(opened, shelf) -> None:
    shelf.release.set()
    gateway = await opened(LOCAL_ONLY)
    await until_ready(gateway)
    while (await gateway.get("/startupz")).status_code != 200:  # noqa: ASYNC110  # what is waited for is HTTP
        await asyncio.sleep(0)
    shelf.opened[0].well = False
    away = await gateway.get("/readyz")
    assert (away.status_code, away.json()) == (200, {"status": "degraded", "detail": "local model m is away"})
    shelf.opened[1].well = False
    away = await gateway.get("/readyz")
    assert (away.status_code, away.json()["message"]) == (503, "local model m is away; local model n is away")
    assert (await gateway.get("/startupz")).json() == {"status": "started"}


async def test_the_event_loop_is_free_while_a_model_loads(opened, upstream, shelf) -> None:
    gateway = await opened(settings(upstream))
    assert (await gateway.post("/v1/rerank", json={**ASKED, "model": "vllm/m"})).status_code == 200


async def test_a_loaded_model_serves_with_its_figures(opened, upstream, shelf) -> None:
    shelf.release.set()
    gateway = await opened(settings(upstream))
    await until_ready(gateway)
    reply = (await gateway.post("/v1/rerank", json=ASKED)).json()
    assert [row["index"] for row in reply["results"]] == [1, 0]
    assert reply["model"] == "m"
    assert reply["extra_fields"]["provider"] == "local"
    assert reply["extra_fields"]["queue_ms"] == 0.5


async def test_only_configured_local_models_exist(opened, upstream, shelf) -> None:
    gateway = await opened(settings(upstream))
    reply = await gateway.post("/v1/rerank", json={**ASKED, "model": "local/mm"})
    assert reply.status_code == 404
    assert reply.json()["message"].startswith('unknown model "local/mm"; did you mean "local/m"')


async def test_the_listing_is_openais(opened, upstream, shelf) -> None:
    gateway = await opened(settings(upstream))
    reply = (await gateway.get("/v1/models")).json()
    assert reply["object"] == "list"
    assert [(row["id"], row["object"], row["owned_by"]) for row in reply["data"]] == [
        ("safe", "model", "local"),
        ("local/m", "model", "local"),
    ]
    assert all(isinstance(row["created"], int) for row in reply["data"])


FAILURES: dict[str, tuple[Exception, str]] = {
    "an expected one": (NotReady("the weights are missing"), "local model m cannot be loaded: the weights are missing"),
    "any other": (ValueError("bad header"), "local model m cannot be loaded: ValueError: bad header"),
}


@pytest.mark.parametrize(("error", "message"), FAILURES.values(), ids=FAILURES)
async def test_a_model_that_cannot_be_loaded_says_why_for_good(opened, upstream, shelf, caplog, error, message) -> None:
    shelf.error = error
    shelf.release.set()
    gateway = await opened(settings(upstream))
    while "still loading" in (reply := await gateway.get("/readyz")).text:  # noqa: ASYNC110  # so is this
        await asyncio.sleep(0)
    assert (reply.status_code, reply.json()) == (200, {"status": "degraded", "detail": message})
    assert (await gateway.post("/v1/rerank", json=ASKED)).json()["message"] == message
    assert ("Traceback" in caplog.text) is isinstance(error, ValueError)


async def test_closing_closes_the_engine(shelf) -> None:
    shelf.release.set()
    loading = LocalBackend(partial(in_daemon, shelf.provider.open), LocalModel(name="m", path="x"))
    await loading.aclose()
    await loading.load()
    assert await loading.ready()
    await loading.aclose()
    assert shelf.opened[0].closed
    assert not await loading.ready()


async def test_a_load_that_is_cancelled_disturbs_nobody(shelf) -> None:
    loading = LocalBackend(partial(in_daemon, shelf.provider.open), LocalModel(name="m", path="x"))
    task = asyncio.create_task(loading.load())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shelf.release.set()
    assert not await loading.ready()


async def test_a_thread_gives_what_the_function_gives_or_raises() -> None:
    assert await in_daemon(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_daemon(divmod, 7, 0)


async def test_load_of_a_failing_model_raises_for_whoever_waits(shelf) -> None:
    shelf.error = NotReady("no")
    shelf.release.set()
    with pytest.raises(RerankError, match="local model m cannot be loaded: no"):
        await LocalBackend(partial(in_daemon, shelf.provider.open), LocalModel(name="m", path="x")).load()


async def test_a_model_is_loaded_once_however_often_it_is_asked_for() -> None:
    opened: list[Engine] = []

    def open_slowly(model: LocalModel) -> Engine:
        started.wait(10)
        opened.append(Engine())
        return opened[-1]

    started = threading.Event()
    loading = LocalBackend(partial(in_daemon, open_slowly), LocalModel(name="m", path="/nowhere"))
    both = [asyncio.create_task(loading.load()) for _ in range(2)]
    await asyncio.sleep(0)
    started.set()
    await asyncio.gather(*both)
    assert len(opened) == 1


async def test_tei_tells_the_window_of_the_loaded_model(embedded) -> None:
    async with httpx.AsyncClient(base_url=embedded) as gateway:
        info = (await gateway.get("/tei/info")).json()
    assert info["max_input_length"] == 256


async def test_raw_scores_are_taken_on_the_strict_mounts(embedded) -> None:
    asked = {"model": "local/all-minilm-l6-v2", "query": "q", "documents": ["a", "b"], "raw_scores": True}
    async with httpx.AsyncClient(base_url=embedded) as gateway:
        response = await gateway.post("/infinity/rerank", json=asked)
    assert response.status_code == 200
