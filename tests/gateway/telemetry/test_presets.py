"""What each backend gets, as a real OTLP receiver decodes it: attribute for attribute what golden_spans.json holds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry import names
from gateway.telemetry.content import MAX_NAME_CHARACTERS
from gateway.telemetry.settings import TelemetrySettings, resolve

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_spans.json").read_text(encoding="utf-8"))
VOLATILE = {
    *("server.port", "rerank_gateway.overhead", "rerank_gateway.request_id"),
    *("http.request.body.size", "http.response.body.size"),
}
"""Attributes whose values differ from run to run. They must be there."""

BODY: dict[str, Any] = {
    "model": "cohere/m",
    "query": "red apple",
    "documents": [
        {"text": "green pear", "id": "pear-1", "score": 12.5},
        {"text": "a red apple", "id": 7, "score": 3},
        "a plum",
    ],
    "top_n": 2,
}
META = {"billed_units": {"search_units": 1, "input_tokens": 60}, "tokens": {"input_tokens": 57}}
ANSWER = {
    "id": "upstream-id",
    "results": [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.25}],
    "meta": META,
}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return getattr(value, kind)


def attributes_of(span: Any) -> dict[str, Any]:
    assert span.dropped_attributes_count == 0
    found = {pair.key: value_of(pair.value) for pair in span.attributes}
    assert len(found) == len(span.attributes) <= names.MAX_ATTRIBUTES
    return found


def stable(span: Any) -> dict[str, Any]:
    return {name: "*" if name in VOLATILE else value for name, value in sorted(attributes_of(span).items())}


@pytest.fixture
def traced(opened, settings, upstream, collector, monkeypatch) -> Any:
    """One request through a gateway that exports to the collector; gives its spans by their kinds."""

    async def send(body: dict[str, Any], **telemetry: Any) -> dict[str, Any]:
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
        telemetry |= {"otlp": {"endpoint": collector.url}, "metrics": {"exporter": "none"}}
        client = await opened(settings(telemetry=telemetry, prices={"cohere/m": {"per_million_tokens": 0.05}}))
        assert (await client.post("/v1/rerank", json=body)).status_code == 200
        spans = await asyncio.to_thread(collector.wait_for_spans, 3)
        return {span.name.split(" ")[0]: span for span in spans}

    return send


@pytest.mark.parametrize("case", GOLDEN)
async def test_golden_spans(traced, upstream, case) -> None:
    upstream.reply_with(200, ANSWER)
    preset, _, with_content = case.partition(" with ")
    traces = {"backend": preset} if preset in names.BACKENDS else {"conventions": preset}
    content = {"in_spans": True, "documents": 2, "characters": 8} if with_content else {}
    found = await traced(BODY, traces=traces, content=content)
    assert {kind: stable(span) for kind, span in found.items()} == GOLDEN[case]


def test_every_preset_has_golden_spans() -> None:
    presets = {*names.BACKENDS, "both"}
    assert set(GOLDEN) == presets | {f"{preset} with content" for preset in presets}


MANY = [{"text": f"document {index}", "id": f"id-{index}", "score": index / 100} for index in range(100)]


@pytest.mark.parametrize(
    ("traces", "rows"),
    [
        pytest.param({"conventions": "both"}, 17, id="both"),
        pytest.param({"conventions": "openinference"}, 19, id="openinference"),
        pytest.param({"conventions": "both", "backend": "langfuse"}, 16, id="both in langfuse"),
    ],
)
async def test_no_span_has_more_attributes_than_backends_keep(traced, upstream, traces, rows) -> None:
    results = [{"index": index, "relevance_score": 1 - index / 100} for index in range(100)]
    upstream.reply_with(200, {**ANSWER, "results": results})
    body = {**BODY, "documents": MANY, "top_n": 100}
    found = await traced(body, traces=traces, content={"in_spans": True, "documents": 100})
    attributes = attributes_of(found["rerank"])
    texts = [name for name in attributes if name.startswith("reranker.input") and name.endswith("content")]
    assert len(texts) == rows
    listed = len(attributes.get("rerank_gateway.documents", ()))
    assert attributes["rerank_gateway.documents.left_out"] == 100 - max(rows, listed)
    assert attributes[f"reranker.output_documents.{rows - 1}.document.id"] == f"id-{rows - 1}"


async def test_no_document_is_told_of_where_none_may_be(traced, upstream) -> None:
    upstream.reply_with(200, ANSWER)
    found = await traced(BODY, traces={"backend": "phoenix"}, content={"documents": 0})
    attributes = attributes_of(found["rerank"])
    assert not [name for name in attributes if "put_documents." in name]
    assert attributes["rerank_gateway.documents.left_out"] == 3


LONG = "x" * 300
DOCUMENTS: dict[str, tuple[Any, str, float | None]] = {
    "text alone": ("some text", "1", None),
    "id and score": ({"text": "t", "id": "a", "score": 0.5}, "a", 0.5),
    "whole numbers": ({"text": "t", "id": 12, "score": 3}, "12", 3.0),
    "negative score": ({"text": "t", "score": -4.5}, "1", -4.5),
    "empty id": ({"text": "t", "id": ""}, "1", None),
    "long id": ({"text": "t", "id": LONG}, LONG[: MAX_NAME_CHARACTERS - 1] + "…", None),
    "null": ({"text": "t", "id": None, "score": None}, "1", None),
    "truth as id": ({"text": "t", "id": True}, "1", None),
    "fraction as id": ({"text": "t", "id": 1.5}, "1", None),
    "object as id": ({"text": "t", "id": {"a": 1}}, "1", None),
    "a number beyond 64 bits as id": ({"text": "t", "id": 10**30}, "1", None),
    "a record is text as a whole": ({"id": "a", "title": "t", "score": 1}, "1", None),
    "a record with a field called content": ({"id": "a", "content": "t", "score": 1}, "1", None),
}


@pytest.mark.parametrize(("document", "name", "score"), DOCUMENTS.values(), ids=DOCUMENTS)
async def test_ids_and_scores(traced, upstream, document, name, score) -> None:
    upstream.reply_with(200, {**ANSWER, "results": [{"index": 1, "relevance_score": 0.75}]})
    found = await traced({**BODY, "documents": ["another", document]}, traces={"backend": "phoenix"})
    attributes = attributes_of(found["rerank"])
    assert attributes["reranker.input_documents.0.document.id"] == "0"
    assert attributes["reranker.input_documents.1.document.id"] == name
    assert attributes.get("reranker.input_documents.1.document.score") == score
    assert attributes["reranker.output_documents.0.document.id"] == name


async def test_dialects_without_ids_give_positions(opened, settings, spans) -> None:
    client = await opened(settings(telemetry={"traces": {"backend": "phoenix"}}))
    body = {"model": "cohere/m", "query": "q", "documents": [{"text": "a", "id": "x"}, {"text": "b", "id": "y"}]}
    assert (await client.post("/cohere/v1/rerank", json=body)).status_code == 200
    (rerank,) = spans.named("rerank")
    assert [rerank[f"reranker.input_documents.{index}.document.id"] for index in (0, 1)] == ["0", "1"]


OPT_IN = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,openinference"}
CHOICES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "nothing": ({}, {}, "gen_ai"),
    "the variable": ({}, OPT_IN, "openinference"),
    "a backend over the variable": ({"backend": "plain"}, OPT_IN, "gen_ai"),
    "phoenix": ({"backend": "phoenix"}, {}, "openinference"),
    "langfuse": ({"backend": "langfuse"}, {}, "gen_ai"),
    "datadog": ({"backend": "datadog"}, {}, "openinference"),
    "conventions over the backend": ({"backend": "datadog", "conventions": "both"}, OPT_IN, "both"),
}


@pytest.mark.parametrize(("traces", "environ", "conventions"), CHOICES.values(), ids=CHOICES)
def test_what_chooses_the_names(traces, environ, conventions) -> None:
    assert resolve(TelemetrySettings.model_validate({"traces": traces}), environ).conventions == conventions
