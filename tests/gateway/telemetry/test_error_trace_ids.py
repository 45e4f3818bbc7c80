"""Error bodies of every dialect tell the trace by which an operator finds the request, if it is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.access.keys import new_key
from gateway.api.dialect_routes import dialects
from tests.gateway.telemetry.conftest import BODY

PAIRS = {"model": "cohere/m", "queries": "red apple", "documents": ["green pear"]}
TEXTS = {"query": "red apple", "texts": ["green pear"]}
PATHS: dict[str, dict[str, Any]] = {
    **{dialect.paths[0]: PAIRS if dialect.name == "score" else BODY for dialect in dialects(lambda: None)},
    "/v1/rerank": BODY,
    "/rerank": {**TEXTS, "model": "cohere/m"},
    "/tei/rerank": TEXTS,
    "/tei/cohere/m/rerank": TEXTS,
}

Answers = dict[str, Any]


async def answers(client: Any, path: str, upstream: Any, secret: str) -> Answers:
    """Answers to every kind of failure on that path, by what failed."""
    key = {"authorization": f"Bearer {secret}"}
    body = PATHS[path]
    found = {
        "no key": await client.post(path, json=body),
        "another method": await client.put(path, headers=key),
        "no JSON": await client.post(path, content=b"{", headers=key),
        "a field of the wrong type": await client.post(path, json={**body, "query": 7, "queries": 7}, headers=key),
        "a field that is missing": await client.post(path, json={"model": "cohere/m"}, headers=key),
        "an unknown model": await client.post(path, json={**body, "model": "nobody/m"}, headers=key),
    }
    upstream.reply_with(500, {"message": "broken"})
    found["a target that fails"] = await client.post(path, json=body, headers=key)
    return {name: answer for name, answer in found.items() if answer.status_code >= 400}


@pytest.mark.parametrize("path", PATHS)
async def test_the_trace_is_told(opened, settings, spans, upstream, path) -> None:
    secret, digest = new_key()
    client = await opened(settings(auth={"keys": [{"name": "team", "hash": digest}]}))
    found = await answers(client, path, upstream, secret)
    assert len(found) >= 5, found
    recorded = [format(span.context.trace_id, "032x") for span in spans.all() if span.name.startswith("POST")]
    assert not [name for name, answer in found.items() if "trace_id" not in answer.json()]
    told = [answer.json()["trace_id"] for answer in found.values()]
    assert set(told) <= set(recorded)
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("path", PATHS)
async def test_no_trace_is_told_that_nobody_finds(opened, settings, spans, upstream, path) -> None:
    secret, digest = new_key()
    keys = {"keys": [{"name": "team", "hash": digest}]}
    client = await opened(settings(auth=keys, telemetry={"traces": {"sample_ratio": 0.0}}))
    for name, answer in (await answers(client, path, upstream, secret)).items():
        assert "trace_id" not in json.loads(answer.content), name


async def test_no_trace_is_told_while_traces_are_off(opened, settings) -> None:
    client = await opened(settings())
    answer = await client.post("/v1/rerank", json={}, headers={"traceparent": f"00-{7:032x}-{7:016x}-01"})
    assert answer.status_code == 400
    assert "trace_id" not in answer.json()


async def test_an_internal_error_tells_its_trace(opened, settings, spans, monkeypatch) -> None:
    from gateway.api import endpoint

    async def broken(*arguments: Any) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(endpoint, "rank", broken)
    client = await opened(settings())
    answer = await client.post("/v1/rerank", json=BODY)
    assert answer.status_code == 500
    assert answer.json()["trace_id"] == format(spans.all()[0].context.trace_id, "032x")
