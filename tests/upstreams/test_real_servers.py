"""Real servers behind a real gateway, all with one tiny model: whoever computes, scores and order are the same.

`make test-upstreams` makes the virtual environments of the servers. A server without one is skipped, visibly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.providers.local.tiny_models import QUERY, bert, text
from tests.upstreams import servers

DOCUMENTS = [text(3 + 7 * number % 40, number) for number in range(12)]
TOLERANCE = 1e-4
"""Of a score: batches are padded differently, and so are sums."""
SERVERS = {
    "gateway": None,
    "infinity": ("infinity", "infinity_emb"),
    "litellm over infinity": ("litellm", "litellm"),
    "litellm over a gateway": ("litellm", "litellm"),
    "xinference": ("xinference", "xinference-local"),
}
"""Each upstream, and the program that it needs."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = bert(tmp_path_factory.mktemp("model"))
    tokenizer = folder / "tokenizer_config.json"
    # The name that transformers 4 knows, too: Infinity holds it there.
    tokenizer.write_text(
        json.dumps({**json.loads(tokenizer.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return folder


@pytest.fixture(scope="module")
def front(model: Path, logs: Path) -> Iterator[httpx.Client]:
    """A gateway with the model in itself, and with every server that is installed as an upstream."""
    # By itself the engine takes bfloat16 where the processor has it, and the servers do not.
    settings = {"path": str(model), "threads": 1, "dtype": "float32"}
    local = {"adapter": "local", "models": {servers.MODEL: settings}}
    with ExitStack() as stack:
        behind = stack.enter_context(servers.gateway({"providers": {"local": local}}, logs / "behind.log"))
        providers: dict[str, Any] = {"itself": local, "gateway": {"base_url": behind}}
        models = {
            "behind": {"model": f"jina_ai/local/{servers.MODEL}", "api_base": f"{behind}/v1/rerank", "api_key": "k"}
        }
        if servers.program(*SERVERS["infinity"]).exists():
            url = stack.enter_context(servers.infinity(model, logs / "infinity.log"))
            providers["infinity"] = {"base_url": url}
            models["infinity"] = {"model": f"infinity/{servers.MODEL}", "api_base": url}
        if servers.program(*SERVERS["xinference"]).exists():
            url, token = stack.enter_context(servers.xinference(model, logs / "xinference.log"))
            providers["xinference"] = {"base_url": url, "api_key": token}
        if servers.program(*SERVERS["litellm over infinity"]).exists():
            url = stack.enter_context(servers.litellm(models, logs / "litellm.log"))
            providers["litellm"] = {"base_url": url, "api_key": servers.LITELLM_KEY}
            providers["stranger"] = {"adapter": "litellm", "base_url": url, "api_key": "sk-not-this-one"}
        for settings in providers.values():
            settings |= {} if settings is local else {"retry": {"retries": 0}, "timeout": 60}
        url = stack.enter_context(servers.gateway({"providers": providers}, logs / "front.log"))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=90, trust_env=False))
        # With upstreams beside it a gateway is ready before its own model is.
        servers.wait_until(lambda: ask(client, f"itself/{servers.MODEL}").is_success)
        yield client


NAMES = {
    "gateway": f"gateway/local/{servers.MODEL}",
    "infinity": f"infinity/{servers.MODEL}",
    "litellm over infinity": "litellm/infinity",
    "litellm over a gateway": "litellm/behind",
    "xinference": f"xinference/{servers.MODEL}",
}
COUNTS_NOTHING = {NAMES["xinference"]}
"""Xinference has none; nothing is made up for it. LiteLLM tells them as billed units."""


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    """What callers write for a model of that server."""
    needs = [SERVERS[request.param]] + ([SERVERS["infinity"]] if "infinity" in request.param else [])
    for need in filter(None, needs):
        if not servers.program(*need).exists():
            pytest.skip(f"{need[0]} is not installed; make test-upstreams does it")
    return NAMES[request.param]


def ask(front: httpx.Client, name: str, **fields: Any) -> httpx.Response:
    return front.post("/v1/rerank", json={"model": name, "query": QUERY, "documents": DOCUMENTS, **fields})


def rows(answer: httpx.Response) -> list[tuple[int, float]]:
    assert answer.status_code == 200, answer.text
    return [(row["index"], row["relevance_score"]) for row in answer.json()["results"]]


def test_ranks_as_the_model_in_the_gateway_does(front: httpx.Client, name: str) -> None:
    expected, found = rows(ask(front, f"itself/{servers.MODEL}")), rows(ask(front, name))
    assert [index for index, _ in found] == [index for index, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=TOLERANCE)
    assert expected[0][1] - expected[-1][1] > 0.01  # Not all alike, or the order would say nothing.


def test_a_limit(front: httpx.Client, name: str) -> None:
    expected = [index for index, _ in rows(ask(front, name))]
    assert [index for index, _ in rows(ask(front, name, top_n=3))] == expected[:3]


def test_one_document(front: httpx.Client, name: str) -> None:
    ((index, score),) = rows(ask(front, name, documents=DOCUMENTS[4:5]))
    expected = dict(rows(ask(front, f"itself/{servers.MODEL}")))[4]
    assert (index, score) == (0, pytest.approx(expected, abs=TOLERANCE))


def test_text_of_any_kind(front: httpx.Client, name: str) -> None:
    odd = ["line\nbreak", '"quoted" \\ text', "é ☃ 🚲 \u200d", " padded ", "x" * 5_000]
    assert sorted(index for index, _ in rows(ask(front, name, documents=odd))) == list(range(len(odd)))


def test_a_model_that_it_does_not_have(front: httpx.Client, name: str) -> None:
    answer = ask(front, name.rpartition("/")[0] + "/no-such-model")
    if name.startswith("infinity/"):  # With one model it takes every name for that one's.
        assert len(rows(answer)) == len(DOCUMENTS)
        return
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error_type"] == "upstream_rejected"
    assert "no-such-model" in answer.json()["message"]


def test_what_was_counted_is_told(front: httpx.Client, name: str) -> None:
    usage = ask(front, name).json().get("usage") or {}
    if name in COUNTS_NOTHING:
        assert not usage.get("total_tokens")
    else:
        assert usage["total_tokens"] > 0


def test_a_key_that_litellm_does_not_know(front: httpx.Client) -> None:
    if not servers.program(*SERVERS["litellm over infinity"]).exists():
        pytest.skip("litellm is not installed; make test-upstreams does it")
    answer = ask(front, "stranger/infinity")
    assert answer.status_code in (400, 502), answer.text  # Without a database it says 400, for want of one.
    assert "sk-not" not in answer.text
