"""The spans of real requests: exact trees and attributes for every outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.gateway.telemetry.conftest import BODY

SERVER = "POST /v1/rerank"
RERANK = "rerank cohere/m"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def post(client: Any, body: Any = None, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/v1/rerank", json=BODY if body is None else body, headers=names)


async def test_success(opened, settings, spans, upstream) -> None:
    client = await opened(settings())
    answer = await post(client, x_request_id="req-1")
    assert answer.status_code == 200
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"]]]]]
    (server,), (rerank,), (attempt,) = spans.named("POST"), spans.named("rerank"), spans.named("attempt")
    overhead = server.pop("rerank_gateway.overhead")
    assert 0 < overhead < 60
    assert server == {
        "http.request.method": "POST",
        "http.route": "/v1/rerank",
        "http.request.body.size": len(answer.request.content),
        "http.response.body.size": len(answer.content),
        "http.response.status_code": 200,
        "rerank_gateway.request_id": "req-1",
        "rerank_gateway.dialect": "unified",
    }
    assert rerank == {
        "gen_ai.operation.name": "rerank",
        "gen_ai.request.model": "cohere/m",
        "gen_ai.response.model": "m",
        "gen_ai.response.id": "upstream-id",
        "gen_ai.provider.name": "cohere",
        "gen_ai.rerank.candidate.count": 2,
        "rerank_gateway.attempts": 1,
        "rerank_gateway.served_by": "cohere",
    }
    assert attempt == {
        "gen_ai.provider.name": "cohere",
        "gen_ai.request.model": "m",
        "http.response.status_code": 200,
        "rerank_gateway.provider": "cohere",
        "rerank_gateway.provider.key": "api_key",
        "rerank_gateway.attempt.retry": 0,
        "rerank_gateway.attempt.fallback": 0,
        "rerank_gateway.attempt.hedged": False,
        "server.address": "127.0.0.1",
        "server.port": int(upstream.url.rsplit(":", 1)[1]),
    }
    kinds = {span.name: span.kind for span in spans.all()}
    assert kinds == {SERVER: SpanKind.SERVER, RERANK: SpanKind.CLIENT, "attempt cohere": SpanKind.CLIENT}
    assert {span.status.status_code for span in spans.all()} == {StatusCode.UNSET}
    assert all((span.start_time or 0) <= (span.end_time or 0) for span in spans.all())


async def test_fallback(opened, settings, spans, upstream) -> None:
    first = iter([(500, {"message": "broken"}, {})])
    usual = upstream.behaviour
    upstream.behaviour = lambda asked: next(first, None) or usual(asked)
    client = await opened(settings())
    answer = await post(client, {**BODY, "fallbacks": ["jina/n"]})
    assert answer.headers["x-gateway-provider"] == "jina"
    attempts = spans.named("attempt")
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"], ["attempt jina"]]]]]
    assert [a["rerank_gateway.attempt.fallback"] for a in attempts] == [0, 1]
    assert [a.get("error.type") for a in attempts] == ["upstream_error", None]
    assert [a["http.response.status_code"] for a in attempts] == [500, 200]
    (rerank,) = spans.named("rerank")
    assert rerank["rerank_gateway.attempts"] == 2
    assert rerank["rerank_gateway.served_by"] == "jina"
    assert "error.type" not in rerank


@pytest.mark.parametrize(
    ("status", "error", "answered"),
    [
        pytest.param(500, "upstream_error", 502, id="failed"),
        pytest.param(400, "upstream_rejected", 400, id="rejected"),
        pytest.param(401, "upstream_credentials", 502, id="credentials"),
        pytest.param(429, "rate_limited", 429, id="rate limited"),
    ],
)
async def test_all_failed(opened, settings, spans, upstream, status, error, answered) -> None:
    upstream.reply_with(status, {"message": "no"})
    client = await opened(settings())
    answer = await post(client)
    assert answer.status_code == answered
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"]]]]]
    assert {span.attributes["error.type"] for span in spans.all()} == {error}
    failed = {span.name for span in spans.all() if span.status.status_code is StatusCode.ERROR}
    assert failed == {RERANK, "attempt cohere"} | ({SERVER} if answered >= 500 else set())
    assert all(span.status.description is None for span in spans.all())


@pytest.mark.parametrize(
    ("body", "error", "tree"),
    [
        pytest.param({"model": "cohere/m"}, "invalid_request", [SERVER], id="unreadable"),
        pytest.param(
            {**BODY, "model": "nobody/m"}, "unknown_model", [SERVER, [["rerank nobody/m"]]], id="unknown model"
        ),
    ],
)
async def test_refused_at_the_door(opened, settings, spans, body, error, tree) -> None:
    client = await opened(settings())
    await post(client, body)
    assert spans.tree() == tree
    assert spans.named("POST")[0]["error.type"] == error


async def test_unusable_answer(opened, settings, spans, upstream) -> None:
    upstream.reply_with(200, {"results": [{"index": 7, "relevance_score": 0.5}]})
    client = await opened(settings())
    await post(client)
    assert spans.named("attempt")[0]["error.type"] == "upstream_bad_answer"


async def test_timeout(opened, settings, spans, upstream) -> None:
    upstream.hold()
    tree = settings()
    tree["providers"]["cohere"] = {**tree["providers"]["cohere"], "timeout": 0.05}
    client = await opened(tree)
    answer = await post(client)
    upstream.release()
    assert answer.status_code == 504
    (attempt,) = spans.named("attempt")
    assert attempt["error.type"] == "upstream_timeout"
    assert "http.response.status_code" not in attempt


async def test_cancelled(opened, settings, spans, upstream) -> None:
    upstream.hold()
    asked, loop, usual = asyncio.Event(), asyncio.get_running_loop(), upstream.behaviour
    upstream.behaviour = lambda request: (loop.call_soon_threadsafe(asked.set), usual(request))[1]
    client = await opened(settings())
    waiting = asyncio.create_task(post(client))
    await asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    upstream.release()
    assert spans.tree() == [SERVER, [[RERANK, [["attempt cohere"]]]]]
    assert {span.attributes["error.type"] for span in spans.all()} == {"cancelled"}
    assert "http.response.status_code" not in spans.named("POST")[0]


async def test_callers_trace_goes_through(opened, settings, spans, upstream) -> None:
    client = await opened(settings())
    answer = await post(client, traceparent=CALLER, tracestate="a=1,b=2", baggage="user=7;secret=no , x=%20")
    sent = upstream.requests[0].headers
    by_name = {span.name: span for span in spans.all()}
    attempt, server = by_name["attempt cohere"], by_name[SERVER]
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert {format(span.context.trace_id, "032x") for span in spans.all()} == {trace}
    assert format(server.parent.span_id, "016x") == "b7ad6b7169203331"
    assert sent["traceparent"] == f"00-{trace}-{attempt.context.span_id:016x}-01"
    assert sent["tracestate"] == "a=1,b=2"
    assert sent["baggage"] == "user=7;secret=no , x=%20"
    assert answer.headers["traceparent"] == f"00-{trace}-{server.context.span_id:016x}-01"


async def test_each_attempt_tells_its_own_span(opened, settings, spans, upstream) -> None:
    upstream.reply_with(500, {})
    client = await opened(settings())
    await post(client, {**BODY, "fallbacks": ["jina/n"]})
    told = [asked.headers["traceparent"].split("-")[2] for asked in upstream.requests]
    made = [span for span in spans.all() if span.name.startswith("attempt")]
    assert told == [format(span.context.span_id, "016x") for span in sorted(made, key=lambda span: span.start_time)]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(
    ("header", "ratio", "recorded"),
    [
        pytest.param(CALLER, 0.0, True, id="the caller records: so do we"),
        pytest.param(CALLER[:-1] + "0", 1.0, False, id="the caller does not: neither do we"),
        pytest.param(None, 0.0, False, id="none is recorded"),
        pytest.param(None, 1.0, True, id="all are recorded"),
        pytest.param("00-" + "0" * 32 + "-b7ad6b7169203331-01", 0.0, False, id="a malformed parent begins a new trace"),
        pytest.param("ff-" + CALLER[3:], 0.0, False, id="version ff is none"),
    ],
)
async def test_sampling(opened, settings, spans, upstream, header, ratio, recorded) -> None:
    client = await opened(settings(telemetry={"traces": {"sample_ratio": ratio}}))
    await post(client, **({"traceparent": header} if header else {}))
    assert bool(spans.all()) is recorded
    assert upstream.requests[0].headers["traceparent"].endswith("-01" if recorded else "-00")


async def test_sampler_by_the_standard_variable(opened, settings, spans, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    client = await opened(settings())
    await post(client)
    assert spans.all() == []


async def test_without_an_exporter_the_context_passes_untouched(opened, settings, upstream) -> None:
    client = await opened(settings())
    answer = await post(client, traceparent=CALLER, tracestate="a=1")
    assert upstream.requests[0].headers["traceparent"] == CALLER
    assert upstream.requests[0].headers["tracestate"] == "a=1"
    assert "traceparent" not in answer.headers


async def test_old_names_of_the_convention(opened, settings, spans, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_v1_36")
    client = await opened(settings())
    await post(client)
    assert spans.named("rerank")[0]["gen_ai.system"] == "cohere"
    assert "gen_ai.provider.name" not in spans.named("rerank")[0]


async def test_openinference(opened, settings, spans) -> None:
    client = await opened(settings(telemetry={"traces": {"conventions": "openinference"}}))
    await post(client, {**BODY, "top_n": 1})
    (rerank,) = spans.named("rerank")
    assert rerank == {
        "openinference.span.kind": "RERANKER",
        "reranker.model_name": "cohere/m",
        "reranker.top_k": 1,
        "rerank_gateway.documents.count": 2,
        "rerank_gateway.attempts": 1,
        "rerank_gateway.served_by": "cohere",
        "rerank_gateway.documents.left_out": 0,
        "llm.provider": "cohere",
        "reranker.input_documents.0.document.id": "0",
        "reranker.input_documents.1.document.id": "1",
        "reranker.output_documents.0.document.id": "1",
        "reranker.output_documents.0.document.score": rerank["reranker.output_documents.0.document.score"],
    }


CONTENT = {"in_spans": True, "documents": 2, "characters": 6}
THREE = {**BODY, "documents": ["green pear", "red apple", "plum"]}


async def test_content_when_asked_for(opened, settings, spans) -> None:
    client = await opened(settings(telemetry={"content": CONTENT}))
    await post(client, THREE)
    (rerank,) = spans.named("rerank")
    assert rerank["rerank_gateway.query"] == "red a…"
    assert rerank["rerank_gateway.documents"] == ("green…", "red a…")
    assert rerank["rerank_gateway.documents.left_out"] == 1
    assert len(rerank["gen_ai.rerank.scores"]) == 2


async def test_content_in_openinference(opened, settings, spans) -> None:
    client = await opened(settings(telemetry={"content": CONTENT, "traces": {"conventions": "openinference"}}))
    await post(client, THREE)
    (rerank,) = spans.named("rerank")
    assert rerank["reranker.query"] == rerank["input.value"] == "red a…"
    assert rerank["reranker.input_documents.1.document.content"] == "red a…"
    assert "reranker.input_documents.2.document.content" not in rerank
    assert rerank["reranker.output_documents.0.document.content"] == "red a…"
    assert rerank["reranker.output_documents.0.document.score"] > 0
    assert rerank["rerank_gateway.documents.left_out"] == 1


@pytest.mark.parametrize(
    ("variable", "gone"),
    [
        pytest.param("OPENINFERENCE_HIDE_INPUTS", "reranker.query", id="inputs"),
        pytest.param("OPENINFERENCE_HIDE_OUTPUTS", "reranker.output_documents.0.document.score", id="outputs"),
    ],
)
async def test_openinference_hides(opened, settings, spans, monkeypatch, variable, gone) -> None:
    monkeypatch.setenv(variable, "true")
    client = await opened(settings(telemetry={"content": CONTENT, "traces": {"conventions": "openinference"}}))
    await post(client, THREE)
    (rerank,) = spans.named("rerank")
    assert gone not in rerank
    hidden = "input" if gone == "reranker.query" else "reranker.output"
    assert not [name for name in rerank if name.startswith(hidden)]


async def test_parts_of_a_split_attempt_are_below_it(opened, settings, spans, upstream) -> None:
    tree = settings()
    tree["providers"]["cohere"]["capabilities"] = {"*": {"limits": {"documents": 1}}}
    upstream.behave("ranks")
    await post(await opened(tree))
    attempt = "attempt cohere"
    assert spans.tree() == [SERVER, [[RERANK, [[attempt, [[attempt], [attempt]]]]]]]
    found = spans.named("attempt")
    assert [span["rerank_gateway.attempt.parts"] for span in found if "rerank_gateway.attempt.parts" in span] == [2]
    assert [span.get("rerank_gateway.part.documents") for span in found].count(1) == 2
    told = {request.headers["traceparent"].split("-")[2] for request in upstream.requests}
    ids = {f"{span.context.span_id:016x}" for span in spans.all() if span.name == attempt}
    assert len(told) == 2
    assert told < ids
