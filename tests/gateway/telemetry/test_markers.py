"""No secret, query or document leaves by telemetry or errors: unique markers are searched for in all that comes out.

(Envoy AI Gateway sets `reranker.query` even when inputs are hidden: only a search through every field finds that.)
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway.access.keys import new_key
from gateway.telemetry import logs, names
from gateway.telemetry.settings import LogSettings

VENDOR_KEY = "MARKER-vendor-key-5f1c"
VENDOR_HEADER = "MARKER-vendor-header-9b2e"
QUERY = "MARKER-query-77aa what is it"
INSTRUCTION = "MARKER-instruction-31ad prefer what is official"
DOCUMENT = "MARKER-document-c0de and then a rather long text that a vendor would cut"
BODY: dict[str, Any] = {"model": "cohere/m", "query": QUERY, "documents": [DOCUMENT, "other text"]}
BODY |= {"instruction": INSTRUCTION, "scores": "probability", "min_score": 0.25, "return_spans": True}
ECHO = json.dumps({"message": f"cannot rank [{QUERY}] with {DOCUMENT[:40]}... for {VENDOR_KEY} and {VENDOR_HEADER}"})


class Seen:
    """Everything that came out of one gateway, as text."""

    def __init__(self, client: httpx.AsyncClient, spans: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self._client, self._spans, self._capsys = client, spans, capsys
        self.answers: list[str] = []

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        given = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = await self._client.post("/v1/rerank", headers=headers, **given)
        self.answers.append(f"{dict(answer.headers)} {answer.text}")
        return answer

    async def places(self, **headers: str) -> dict[str, str]:
        made = "".join(f"{span.to_json()} {[link.attributes for link in span.links]}" for span in self._spans.all())
        written = self._capsys.readouterr()
        return {
            "spans": made,
            "logs": written.err + written.out,
            "metrics": (await self._client.get("/metrics")).text,
            "status": (await self._client.get("/v1/status", headers=headers)).text,
            "answers": "".join(self.answers),
        }


@pytest.fixture
def seen(opened, settings, spans, capsys) -> Callable[..., Any]:
    async def make(**more: Any) -> Seen:
        tree = settings(**more)
        for provider in tree["providers"].values():
            provider |= {"api_key": VENDOR_KEY, "headers": {"x-tenant": VENDOR_HEADER}, "timeout": 1.0}
        logs.configure(LogSettings(level="debug"))
        return Seen(await opened(tree), spans, capsys)

    return make


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Any:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


PRESETS: dict[str, dict[str, str]] = {
    **{backend: {"backend": backend} for backend in names.BACKENDS},
    **{convention: {"conventions": convention} for convention in names.CONVENTION_SETS},
    "both in langfuse": {"backend": "langfuse", "conventions": "both"},
}
"""Everything that chooses the attributes of spans."""

STATUSES = (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503, 529)
CASES = {
    "success": (200, {"results": [{"index": 0, "relevance_score": 0.5}], "id": "upstream-id"}),
    "spans that hold text": (
        200,
        {
            "results": [
                {"index": 0, "relevance_score": 0.5, "relevant_spans": [{"start": 0, "end": 9, "text": DOCUMENT}]},
                {"index": 1, "relevance_score": 0.5, "relevant_spans": [{"start": DOCUMENT, "end": QUERY}]},
            ]
        },
    ),
    **{f"status {status}": (status, ECHO.encode()) for status in STATUSES},
    "FastAPI's 422": (422, {"detail": [{"loc": ["body", QUERY], "msg": f"bad {DOCUMENT}", "input": QUERY}]}),
    "HTML": (502, f"<html>{QUERY} {DOCUMENT} {VENDOR_KEY}</html>".encode()),
    "unusable": (200, {"results": QUERY}),
    "not JSON": (200, f"{QUERY} {DOCUMENT}".encode()),
    "rubbish": (200, {"results": [{"index": 99, "relevance_score": 0.5, "document": {"text": DOCUMENT}}]}),
    "wrong type": (200, {"results": [{"index": QUERY, "relevance_score": DOCUMENT}]}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_nothing_of_an_attempt_comes_out(seen, upstream, case) -> None:
    upstream.reply_with(*CASES[case])
    found = await seen()
    await found.post(BODY)
    await found.post({**BODY, "fallbacks": ["jina/n"]})
    await found.post({**BODY, "model": "cohere/rerank-v5"})
    for place, text in (await found.places()).items():
        assert text, place
        assert "MARKER" not in text, place


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("adapter", ["vllm", "voyage", "sglang"])
async def test_nothing_of_an_instruction_comes_out(seen, upstream, adapter, status) -> None:
    """In a field of its own, in the query's text, or by another name: a vendor may quote it."""
    provider = {"adapter": adapter, "base_url": upstream.url, "retry": {"retries": 0}}
    found = await seen(providers={"up": provider})
    for reply in ((status, {"message": f"bad instruction {INSTRUCTION} for {QUERY}"}), CASES["success"]):
        upstream.reply_with(*reply)
        await found.post({**BODY, "model": "up/m"})
    assert INSTRUCTION in json.dumps(upstream.requests[0].body)
    for place, text in (await found.places()).items():
        assert "MARKER" not in text, place


WRITTEN: dict[str, Any] = {
    "text": [DOCUMENT],
    "text with an id and a score": [{"text": DOCUMENT, "id": "7", "score": 0.5, "meta": {"of": DOCUMENT}}],
    "text with odd neighbours": [{"text": DOCUMENT, "id": {"of": DOCUMENT}, "meta": {"of": DOCUMENT}}],
    "a record with a field called content": [{"id": DOCUMENT, "content": DOCUMENT, "score": 0.5}],
    "a record with an id": [{"id": DOCUMENT, "title": DOCUMENT, "score": 0.5}],
    "a record of text in other fields": [{"body": DOCUMENT, "id": [DOCUMENT]}],
}


@pytest.mark.parametrize("documents", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("traces", PRESETS.values(), ids=PRESETS)
async def test_no_text_is_in_the_spans_of_any_preset(seen, traces, documents) -> None:
    found = await seen(telemetry={"traces": traces})
    assert (await found.post({**BODY, "documents": [*documents, DOCUMENT]})).status_code == 200
    for place, text in (await found.places()).items():
        assert text, place
        assert "MARKER" not in text, place


@pytest.mark.parametrize("case", ["status 400", "rubbish", "not JSON"])
@pytest.mark.parametrize("traces", PRESETS.values(), ids=PRESETS)
async def test_no_text_of_a_failed_call_is_in_the_spans_of_any_preset(seen, upstream, traces, case) -> None:
    upstream.reply_with(*CASES[case])
    found = await seen(telemetry={"traces": traces})
    await found.post({**BODY, "fallbacks": ["jina/n"]})
    for place, text in (await found.places()).items():
        assert text, place
        assert "MARKER" not in text, place


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({**BODY, "model": "nobody/m"}, id="unknown model"),
        pytest.param({**BODY, "return_documents": DOCUMENT}, id="return_documents as text"),
        pytest.param({**BODY, "top_n": 0}, id="top_n"),
        pytest.param({**BODY, "instruction": [INSTRUCTION]}, id="instruction as list"),
        pytest.param({**BODY, "scores": INSTRUCTION}, id="scores as text"),
        pytest.param({**BODY, "min_score": INSTRUCTION}, id="min_score as text"),
        pytest.param({**BODY, "top_n": QUERY}, id="wrong type"),
        pytest.param({**BODY, "documents": [DOCUMENT, ""]}, id="blank document"),
        pytest.param({**BODY, "documents": DOCUMENT}, id="documents as text"),
        pytest.param({**BODY, "documents": [{"text": {"a": DOCUMENT}}]}, id="text as object"),
        pytest.param({**BODY, "documents": [7, DOCUMENT]}, id="document as number"),
        pytest.param({**BODY, "query": {"content": QUERY}}, id="query as object"),
        pytest.param(json.dumps(BODY).encode()[:-1], id="cut JSON"),
        pytest.param(QUERY.encode(), id="no JSON"),
    ],
)
async def test_nothing_of_a_refused_request_comes_out(seen, body) -> None:
    found = await seen()
    assert (await found.post(body)).status_code in (400, 404)
    for place, text in (await found.places()).items():
        assert "MARKER" not in text, place


@pytest.mark.parametrize("case", ["success", "status 413", "status 422", "unusable"])
async def test_nothing_of_a_split_request_comes_out(seen, upstream, case) -> None:
    upstream.reply_with(*CASES[case])
    known = {"*": {"limits": {"documents": 1}}}
    found = await seen(providers={"cohere": {"base_url": upstream.url, "capabilities": known}})
    await found.post({**BODY, "documents": [DOCUMENT] * 3})
    places = await found.places()
    # A part that cannot be had ends the attempt, before the others are sent if they have not been by then.
    assert len(upstream.requests) > (1 if case == "success" else 0)
    for place, text in places.items():
        assert "MARKER" not in text, place


@pytest.mark.parametrize("mode", ["truncate", "chunk_max"])
@pytest.mark.parametrize("case", ["success", "status 413", "status 422", "unusable"])
async def test_nothing_of_a_cut_text_comes_out(seen, upstream, case, mode) -> None:
    upstream.reply_with(*CASES[case])
    known = {"*": {"long_documents": mode, "limits": {"tokens_per_pair": 64}}}
    found = await seen(providers={"voyage": {"base_url": upstream.url, "capabilities": known}})
    await found.post({**BODY, "model": "voyage/m", "max_tokens_per_doc": 30, "documents": [DOCUMENT] * 3})
    for place, text in (await found.places()).items():
        assert "MARKER" not in text, place


@pytest.mark.parametrize("case", CASES)
async def test_nothing_of_what_is_cached_comes_out(seen, upstream, case) -> None:
    upstream.reply_with(*CASES[case])
    found = await seen(cache={})
    for _ in range(2):
        await found.post({**BODY, "documents": [DOCUMENT]})
        await found.post({**BODY, "documents": [DOCUMENT], "fallbacks": ["jina/n"]})
    for place, text in (await found.places()).items():
        assert text, place
        assert "MARKER" not in text, place


COMPOSITES = {
    "fused": {"fuse": ["cohere/m", "jina/n", "order/x"], "method": "weighted_scores", "require": 2},
    "cascade": {"cascade": [{"model": "cohere/m", "keep": 1}, {"model": "jina/n"}]},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", COMPOSITES)
async def test_nothing_of_a_model_made_of_others_comes_out(seen, settings, upstream, model, case) -> None:
    upstream.reply_with(*CASES[case])
    providers = {**settings()["providers"], "order": {"adapter": "cohere", "base_url": upstream.url}}
    found = await seen(models=COMPOSITES, providers={**providers})
    documents = [{"text": DOCUMENT, "score": 2.5}, "other text"]
    await found.post({**BODY, "model": model, "documents": documents})
    await found.post({**BODY, "model": model, "documents": [DOCUMENT, {"text": DOCUMENT, "score": DOCUMENT}]})
    for place, text in (await found.places()).items():
        assert text, place
        assert "MARKER" not in text, place


async def test_nothing_of_a_timeout_comes_out(seen, upstream) -> None:
    upstream.hold()
    found = await seen()
    assert (await found.post(BODY)).status_code == 504
    upstream.release()
    for place, text in (await found.places()).items():
        assert "MARKER" not in text, place


async def test_nothing_of_a_fault_of_ours_comes_out(seen, monkeypatch) -> None:
    from gateway.backends.http import HttpBackend

    async def broken(self: Any, request: Any) -> None:
        raise KeyError(request.documents[0], request.query, VENDOR_KEY)

    monkeypatch.setattr(HttpBackend, "rerank", broken)
    found = await seen()
    assert (await found.post(BODY)).status_code == 502
    places = await found.places()
    assert "builtins.KeyError" in places["logs"]
    for place, text in places.items():
        assert "MARKER" not in text, place


async def test_no_key_of_a_caller_comes_out(seen) -> None:
    secret, digest = new_key()
    found = await seen(auth={"keys": [{"name": "team-a", "hash": digest}]})
    assert (await found.post(BODY)).status_code == 401
    assert (await found.post(BODY, authorization="Bearer MARKER-wrong-key")).status_code == 401
    assert (await found.post(BODY, authorization=f"Bearer {secret}")).status_code == 200
    assert (await found.post({**BODY, "query": ""}, authorization=f"Bearer {secret}")).status_code == 400
    for place, text in (await found.places(authorization=f"Bearer {secret}")).items():
        assert "MARKER" not in text, place
        assert secret not in text, place
    assert found._spans.named("POST")[2]["rerank_gateway.caller"] == "team-a"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        pytest.param({"in_spans": True}, {"spans"}, id="spans"),
        pytest.param({"in_logs": True}, {"logs"}, id="logs"),
        pytest.param({"in_spans": True, "in_logs": True}, {"spans", "logs"}, id="both"),
    ],
)
@pytest.mark.parametrize("traces", PRESETS.values(), ids=PRESETS)
async def test_content_comes_out_exactly_where_it_is_switched_on(seen, content, where, traces) -> None:
    found = await seen(telemetry={"content": content, "traces": traces})
    await found.post(BODY)
    places = await found.places()
    for marker in ("MARKER-query", "MARKER-document"):
        assert {place for place, text in places.items() if marker in text} == where
    assert not [place for place, text in places.items() if "MARKER-vendor" in text]


async def test_exception_messages_come_out_only_when_switched_on(seen, monkeypatch) -> None:
    from gateway.backends.http import HttpBackend

    async def broken(self: Any, request: Any) -> None:
        raise KeyError(request.query)

    monkeypatch.setattr(HttpBackend, "rerank", broken)
    found = await seen()
    logs.configure(LogSettings(exception_messages=True))
    await found.post(BODY)
    assert {place for place, text in (await found.places()).items() if "MARKER" in text} == {"logs"}


async def test_nothing_of_a_shadow_call_or_a_canary_comes_out(seen, upstream) -> None:
    canary = {"texts": [{"query": QUERY, "documents": [DOCUMENT, "other text"]}]}
    model = {"target": "cohere/m", "shadow": {"target": "jina/n"}, "canary": canary}
    found = await seen(models={"best": model})
    ranked = (200, {"results": [{"index": 0, "relevance_score": 0.5}]}, {})
    for outcome, reply in (("ok", ranked), ("error", (500, ECHO.encode(), {}))):
        upstream.behaviour = lambda asked, reply=reply: reply if asked.body["model"] == "n" else ranked
        await found.post({**BODY, "model": "best"})
        error = "" if outcome == "ok" else "upstream_error"
        told = f'shadow_calls_total{{candidate="jina/n",error_type="{error}",model="best",outcome="{outcome}"}} 1.0'
        async with asyncio.timeout(20):
            while told not in (await found._client.get("/metrics")).text:  # noqa: ASYNC110  it tells only the metrics
                await asyncio.sleep(0.001)
    places = await found.places()
    assert 'candidate="jina/n"' in places["metrics"]
    for place, text in places.items():
        assert "MARKER" not in text, place
