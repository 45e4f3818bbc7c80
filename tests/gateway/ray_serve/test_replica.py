"""A replica without Ray: it starts when its models are warm, answers as the gateway would, and says how it is."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml
from msgspec.structs import replace

from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from gateway.ray_serve.autoscaling import BUSY, WAITING
from gateway.ray_serve.replica import HEADROOM_BYTES, LoadFigures, Replica, at_root, replica_config
from gateway.telemetry.metrics import REQUESTS
from providers.adapters.local import PROVIDER as LOCAL
from providers.errors import NotReady
from providers.types import EngineStats, RerankRequest
from tests.gateway.telemetry.collector import Collector
from tests.providers.local.tiny_models import DOCUMENTS, QUERY, bert

KEY = "a-key-of-the-gateway"
CALLER = {"authorization": f"Bearer {KEY}"}
VOLATILE = {"latency", "tokenize_ms", "queue_ms", "compute_ms", "spans_ms", "attempts", "cost"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder."""
    return bert(tmp_path_factory.mktemp("bert"))


def provider(folder: Path | str, **settings: Any) -> dict[str, Any]:
    model = {"path": str(folder), "dtype": "float32", "device": "cpu", "threads": 1}
    return {"models": {"tiny": model, "org/twin": model}, **settings}


def written(at: Path, tree: dict[str, Any]) -> str:
    file = at / "gateway.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return str(file)


class Lifespan:
    """The lifespan of an ASGI application, as a server drives it."""

    def __init__(self, app: Any) -> None:
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._running = asyncio.ensure_future(app({"type": "lifespan"}, self._asked.get, self.said.put))

    async def ask(self, what: str) -> None:
        await self._asked.put({"type": f"lifespan.{what}"})

    async def stop(self) -> None:
        await self.ask("shutdown")
        assert (await self.said.get())["type"] == "lifespan.shutdown.complete"
        await self._running


@contextlib.asynccontextmanager
async def opened_replica(path: str, **arguments: Any) -> AsyncIterator[Replica]:
    replica = Replica(path, "local", **arguments)
    await replica.open()
    try:
        yield replica
    finally:
        await replica.aclose()


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://replica", headers=CALLER)


def hold_loading(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Models wait until the first event is set to be loaded; the second is set when one begins to."""
    may_load, begun = threading.Event(), threading.Event()

    def load(model: Any) -> Any:
        begun.set()
        may_load.wait(60)
        return LOCAL.open(model)

    monkeypatch.setattr("providers.adapters.local.PROVIDER", replace(LOCAL, open=load))
    return may_load, begun


async def test_its_start_is_held_back_until_the_models_are_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, begun = hold_loading(monkeypatch)
    replica = Replica(written(tmp_path, {"providers": {"local": provider(folder)}}), "local")
    lifespan = Lifespan(replica)
    await lifespan.ask("startup")
    assert await asyncio.to_thread(begun.wait, 60)
    assert lifespan.said.empty()
    may_load.set()
    assert await lifespan.said.get() == {"type": "lifespan.startup.complete"}
    await replica.check()
    await replica.open()  # It is open, so nothing is to be done.
    await lifespan.stop()


async def test_whoever_opens_it_waits_until_it_is_open_or_closed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, begun = hold_loading(monkeypatch)
    replica = Replica(written(tmp_path, {"providers": {"local": provider(folder)}}), "local")
    openings = [asyncio.create_task(replica.open()) for _ in range(2)]
    assert await asyncio.to_thread(begun.wait, 60)
    assert not any(opening.done() for opening in openings)
    closing = asyncio.create_task(replica.aclose())
    await asyncio.sleep(0)
    may_load.set()
    await closing
    for outcome in await asyncio.gather(*openings, return_exceptions=True):
        assert outcome is None or isinstance(outcome, NotReady), outcome


async def test_a_model_that_cannot_be_loaded_ends_the_start_with_its_sentence(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken, dirs_exist_ok=True)
    (broken / "model.safetensors").write_bytes(b"no weights")
    path = written(tmp_path, {"providers": {"local": provider(broken)}})
    lifespan = Lifespan(Replica(path, "local"))
    await lifespan.ask("startup")
    failed = await lifespan.said.get()
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith("local model tiny cannot be loaded: ")
    with pytest.raises(NotReady, match="local model tiny cannot be loaded: "):
        await Replica(path, "local").open()


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such provider": ({"providers": {"local": {}}}, "other", 'providers: has no local provider "other"'),
    "no local one": (
        {"providers": {"cohere": {"api_key": "k"}}}, "cohere", "providers.cohere: is no local provider",
    ),
    "no such folder": (
        {"providers": {"local": provider("./nowhere")}}, "local", "providers.local.models.tiny: ",
    ),
    "a variable of its own is not set": (
        {"providers": {"local": provider("./nowhere", api_key="${UNSET_KEY}")}},
        "local", "providers.local.api_key: environment variable UNSET_KEY is not set",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "name", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_run_here_is_refused(tmp_path: Path, tree: dict[str, Any], name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Replica(written(tmp_path, tree), name)
    assert any(problem in str(each) for each in caught.value.problems), caught.value.problems


def test_it_needs_nothing_of_the_file_but_its_own_part(folder: Path, tmp_path: Path) -> None:
    scale = {"replicas": 2, "cpus": 3.5, "gpus": 0}
    own = provider(folder, base_url="http://ray.example:8000/local", api_key=KEY, scale=scale)
    own |= {"ca_file": "not-here.pem", "headers": {"x-team": "${NO_SUCH_TEAM}"}, "health_check": {"url": "http://x/y"}}
    own["models"]["free"] = {"path": str(folder)}
    tree = {
        "providers": {"local": own, "cohere": {"api_key": "${NO_SUCH_KEY}"}, "wrong": {"no": "such adapter"}},
        "models": {"best": {"target": "cohere/rerank"}},
        "auth": {"file": "not-here.yaml"},
        "server": {"tls": {"cert": "not-here.pem"}},
        "deadline": {"default": 7, "max": 9},
        "request_limits": {"body_bytes": 5000, "documents": 50, "json_values": 1000},
        "telemetry": {"resource": {"team": "search"}, "logs": {"level": "warning"}},
    }
    config = Replica(written(tmp_path, tree), "local", "copy-1").config
    assert list(config.providers) == ["local"]
    assert sorted(config.models) == ["free", "org/twin", "tiny"]
    threads = {name: model.threads for name, model in (config.providers["local"].models or {}).items()}
    assert threads == {"tiny": 1, "org/twin": 1, "free": 3}
    assert (config.deadline.default, config.deadline.max) == (7, 9)
    assert (config.request_limits.documents, config.request_limits.body_bytes) == (50, 5000 + HEADROOM_BYTES)
    assert config.request_limits.json_values > 1000 + len(RerankRequest.__struct_fields__)
    assert config.telemetry.resource == {"team": "search", "service.instance.id": "copy-1"}
    assert (config.telemetry.metrics.prometheus, config.server.ui) == (False, False)


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""Of the gateway's call, as `traceparent`."""


async def test_spans_and_metrics_are_pushed_with_the_replicas_id(folder: Path, tmp_path: Path) -> None:
    """Nobody could scrape a replica behind a proxy that chooses one. Its spans continue the gateway's trace."""
    with contextlib.closing(Collector()) as collector:
        telemetry = {
            "otlp": {"endpoint": collector.url},
            "traces": {"exporter": "otlp"},
            "metrics": {"exporter": "otlp"},
        }
        tree = {"providers": {"local": provider(folder, api_key=KEY)}, "telemetry": telemetry}
        async with opened_replica(written(tmp_path, tree), instance="copy-1") as replica, client(replica) as caller:
            body = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS}
            assert (await caller.post("/v1/rerank", json=body, headers={"traceparent": PARENT})).status_code == 200
    spans, metrics = collector.spans(), collector.metrics()
    assert {span.trace_id.hex() for _, span in spans} == {PARENT.split("-")[1]}
    assert PARENT.split("-")[2] in {span.parent_span_id.hex() for _, span in spans}
    assert {instance_of(resource) for resource, _ in spans} == {"copy-1"}
    assert {instance_of(resource) for resource in collector.metric_resources()} == {"copy-1"}
    assert metrics[REQUESTS.name].sum.data_points[0].as_double == 1


def instance_of(resource: Any) -> str:
    (found,) = (each.value.string_value for each in resource.attributes if each.key == "service.instance.id")
    return str(found)


KEYS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "one": ({"api_key": KEY}, {KEY: 200, "another": 401, "": 401}),
    "several, while one replaces the other": (
        {"api_keys": [{"name": "old", "key": "old-key"}, {"name": "new", "key": KEY}]},
        {KEY: 200, "old-key": 200, "another": 401, "": 401},
    ),
    "none": ({}, {"": 200}),
}


@pytest.mark.parametrize(("settings", "answers"), KEYS.values(), ids=KEYS)
async def test_it_answers_who_has_a_key_of_the_gateway(
    folder: Path, tmp_path: Path, settings: dict[str, Any], answers: dict[str, int]
) -> None:
    path = written(tmp_path, {"providers": {"local": provider(folder, **settings)}})
    asked = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS[:2]}
    async with opened_replica(path) as replica, client(replica) as http:
        for key, status in answers.items():
            headers = {"authorization": f"Bearer {key}"} if key else {"authorization": ""}
            assert (await http.post("/v1/rerank", json=asked, headers=headers)).status_code == status, key
        assert (await http.get("/readyz", headers={"authorization": ""})).status_code == 200
        assert (await http.get("/metrics")).status_code == 404


DEVICES: dict[str, tuple[dict[str, Any] | None, str, str]] = {
    "no GPU for it": ({"gpus": 0}, "auto", "cpu"),
    "a GPU for it": ({"gpus": 1}, "auto", "auto"),
    "a part of one": ({"gpus": 0.5}, "auto", "auto"),
    "named": ({"gpus": 2}, "cuda:1", "cuda:1"),
    "the processor by name": ({"gpus": 1}, "cpu", "cpu"),
    "a server of its own": (None, "auto", "auto"),
}


@pytest.mark.parametrize(("scale", "device", "used"), DEVICES.values(), ids=DEVICES)
def test_it_uses_the_gpus_that_it_is_given_and_no_other(scale: Any, device: str, used: str) -> None:
    own = {"base_url": "http://ray:8000/local", "scale": scale, "models": {"m": {"path": "org/m", "device": device}}}
    config = replica_config(from_tree({"providers": {"local": own}}), "local", "")
    assert [model.device for model in (config.providers["local"].models or {}).values()] == [used]


async def test_it_is_well_while_its_engine_threads_live(folder: Path, tmp_path: Path) -> None:
    path = written(tmp_path, {"providers": {"local": provider(folder)}})
    async with opened_replica(path) as replica:
        await replica.check()
        load = replica.load()
        assert set(load) == {BUSY, WAITING}
        assert load[WAITING] == 0
        models = replica._service.routes.local_models()
        await asyncio.to_thread(models[0]._backend._batcher.close)  # type: ignore[union-attr]  # its thread ends
        with pytest.raises(NotReady, match="the engine of tiny is away"):
            await replica.check()


def stats(busy: float, queued: int = 0, speed: float = 0.0) -> EngineStats:
    none = {"batches": 0, "texts": 0, "tokens": 0, "padding": 0, "window": 96}
    return EngineStats(queued_tokens=queued, tokens_per_second=speed, busy_seconds=busy, **none)


FIGURES: dict[str, tuple[list[EngineStats | None], float, float]] = {
    # what the models say after ten seconds, the share of the time, the seconds of waiting
    "nothing is done": ([stats(0)], 0.0, 0.0),
    "half of the time": ([stats(5)], 0.5, 0.0),
    "a batch that had begun before": ([stats(12)], 1.0, 0.0),
    "work waits": ([stats(10, 3_000, 1_000)], 1.0, 3.0),
    "a speed that nobody knows yet": ([stats(1, 3_000)], 0.1, 0.0),
    "two models on one device": ([stats(3, 100, 100), stats(4, 400, 200)], 0.7, 3.0),
    "two models that compute at once": ([stats(9), stats(9)], 1.0, 0.0),
    "a model that is not loaded": ([None, stats(5)], 0.5, 0.0),
    "no model": ([], 0.0, 0.0),
}


@pytest.mark.parametrize(("models", "busy", "waiting"), FIGURES.values(), ids=FIGURES)
def test_how_much_there_is_to_do(models: list[EngineStats | None], busy: float, waiting: float) -> None:
    now = [100.0]
    figures = LoadFigures(lambda: now[0])
    now[0] = 110.0
    assert figures.read(models) == {BUSY: pytest.approx(busy), WAITING: pytest.approx(waiting)}
    assert figures.read(models)[BUSY] == 0.0  # In the same instant: nothing has been done since.


MOUNTED: dict[str, tuple[str, str, str]] = {
    "nowhere": ("", "/v1/rerank", "/v1/rerank"),
    "below a path": ("/local", "/local/v1/rerank", "/v1/rerank"),
    "below a path with a slash at its end": ("/local/", "/local/v1/rerank", "/v1/rerank"),
    "at the path itself": ("/local", "/local", "/"),
    "where the server has taken it off": ("/local", "/v1/rerank", "/v1/rerank"),
    "a path that begins alike": ("/local", "/locals/v1/rerank", "/locals/v1/rerank"),
}


@pytest.mark.parametrize(("root", "path", "expected"), MOUNTED.values(), ids=MOUNTED)
def test_it_is_served_below_any_path(root: str, path: str, expected: str) -> None:
    scope: Any = {"type": "http", "root_path": root, "path": path, "raw_path": path.encode()}
    assert at_root(scope)["path"] == expected
    assert at_root(scope)["raw_path"] == expected.encode()


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a replica behind a real server, mounted as Serve mounts it."""
    path = written(tmp_path_factory.mktemp("replica"), {"providers": {"local": provider(folder, api_key=KEY)}})
    replica = Replica(path, "local")

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        below = {"root_path": "/copies/local"} if scope["type"] == "http" else {}
        await replica({**scope, **below}, receive, send)

    server = uvicorn.Server(uvicorn.Config(mounted, log_config=None, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/copies/local"
        server.should_exit = True
        thread.join()


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "no wishes": ("/v1/rerank", {}),
    "the best": ("/v1/rerank", {"top_n": 3}),
    "cut documents": ("/v1/rerank", {"max_tokens_per_doc": 9}),
    "a priority": ("/v1/rerank", {"priority": 5}),
    "an instruction that the model does not take": ("/v1/rerank", {"instruction": "be strict"}),
    "logits": ("/v1/rerank", {"use_activation": False}),
    "passages": ("/v1/rerank", {"return_spans": True, "top_n": 2}),
    "the other model": ("/v1/rerank", {"model": "local/org/twin"}),
    "an alias": ("/v1/rerank", {"model": "best"}),
    "nothing to rank by": ("/v1/rerank", {"documents": []}),
    "an unknown model": ("/v1/rerank", {"model": "local/tine"}),
    "cohere's dialect": ("/v2/rerank", {"top_n": 2}),
    "pairs of one query": ("/v1/score", {"queries": QUERY}),
    "pairs, a query to each": ("/v1/score", {"queries": [f"{QUERY} {number}" for number in range(26)]}),
}


def told(answer: httpx.Response) -> dict[str, Any]:
    """What an answer says, without what no two answers have in common."""
    body: dict[str, Any] = answer.json()
    fields = body.get("extra_fields")
    if isinstance(fields, dict):
        body["extra_fields"] = {name: value for name, value in fields.items() if name not in VOLATILE}
    return {name: value for name, value in body.items() if name not in {"id", "created"}}


def alike(value: Any) -> Any:
    """The same, with scores as equal as batches of another composition make them."""
    if isinstance(value, dict):
        return {name: alike(each) for name, each in value.items()}
    if isinstance(value, list):
        return [alike(each) for each in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


async def test_behind_base_url_nothing_changes_for_callers(folder: Path, served: str, opened: Any) -> None:
    aliases = {"best": {"target": "local/tiny", "fallbacks": ["local/org/twin"]}}
    here = await opened({"providers": {"local": provider(folder)}, "models": aliases})
    elsewhere = provider("/not/on/this/host", base_url=served, api_key=KEY)
    there = await opened({"providers": {"local": elsewhere}, "models": aliases})
    while (await here.get("/startupz")).status_code != 200:  # noqa: ASYNC110  # there is nothing else to wait for
        await asyncio.sleep(0.05)
    for name, (path, changed) in ASKED.items():
        asked = {"model": "local/tiny", "query": QUERY, "documents": DOCUMENTS, **changed}
        if path == "/v1/score":
            del asked["query"]
        answers = [await gateway.post(path, json=asked) for gateway in (here, there)]
        assert answers[0].status_code == answers[1].status_code, (name, answers[1].text)
        assert told(answers[0]) == alike(told(answers[1])), name
    listed = [(await gateway.get("/v1/models")).json() for gateway in (here, there)]
    for each in listed[0]["data"] + listed[1]["data"]:
        del each["created"]
    assert listed[0] == listed[1]
    ready = await there.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
