"""The official client lists and calls the tools, over HTTP and over standard input, and cannot do more than its key."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import jsonschema
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from gateway.access.keys import hash_of
from gateway.api.mcp.tools import TOOLS
from gateway.config import extras
from gateway.config.loader import from_tree
from gateway.errors import ConfigError
from providers.wire.extras import needs

ROOT = Path(__file__).parents[4]
KEY, NARROW = "rgw_wide", "rgw_narrow"
ASKED = {"query": "red apple", "documents": ["green pear", "red apple", "blue plum"]}


@pytest.fixture(scope="module")
def vendor(upstreams: Any) -> Any:
    return upstreams()


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any], vendor: Any) -> str:
    """A running gateway with the tools, and two keys."""
    process = start_gateway(
        {
            "server": {"mcp": True},
            "auth": {
                "keys": [
                    {"name": "wide", "hash": hash_of(KEY)},
                    {
                        "name": "narrow",
                        "hash": hash_of(NARROW),
                        "models": ["other", "order/*"],
                        "limits": {"requests": "1/hour"},
                    },
                ]
            },
            "providers": {
                "up": {"adapter": "cohere", "base_url": vendor.url, "api_key": "k", "retry": {"retries": 0}},
                "order": {"adapter": "passthrough"},
            },
            "models": {"search": "up/m", "other": {"target": "up/n", "fallbacks": ["order/any"]}},
            "default_model": "search",
        }
    )
    process.wait_until_ready()
    return str(process.url)


@asynccontextmanager
async def agent(url: str, key: str = KEY, mode: str = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def by_stdio(url: str, key: str = KEY) -> StdioServerParameters:
    environ = {"PYTHONPATH": str(ROOT), "RERANK_GATEWAY_KEY": key}
    return StdioServerParameters(command=sys.executable, args=["-m", "gateway", "mcp", "--url", url], env=environ)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_lists_and_calls_the_tools_over_http(url: str, mode: str) -> None:
    async with agent(url, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["rerank", "list_rerankers"]
        await is_answered_well(client)


async def test_a_client_lists_and_calls_the_tools_over_standard_input(url: str) -> None:
    async with Client(by_stdio(url)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["rerank", "list_rerankers"]
        await is_answered_well(client)


async def is_answered_well(client: Client) -> None:
    found = await client.call_tool("rerank", {**ASKED, "top_n": 2})
    assert not found.is_error
    content = found.structured_content
    assert (content["model"], content["degraded"]) == ("search", False)
    assert [(row["index"], row["text"]) for row in content["results"]] == [(1, "red apple"), (0, "green pear")]
    assert content["results"][0]["relevance_score"] > content["results"][1]["relevance_score"]
    assert json.loads(found.content[0].text) == content
    listed = (await client.call_tool("list_rerankers", {})).structured_content
    assert listed["default_model"] == "search"
    assert {reranker["model"] for reranker in listed["rerankers"]} == {"search", "other"}
    for tool, value in zip(TOOLS, (content, listed), strict=True):
        jsonschema.validate(value, tool.output_schema)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no query": ("rerank", {"documents": ["a"]}, "query is required for rerank (HTTP 400)"),
    "no documents": ("rerank", {"query": "q"}, "documents are required for rerank (HTTP 400)"),
    "top_n of 0": ("rerank", {**ASKED, "top_n": 0}, "top_n must be at least 1 (HTTP 400)"),
    "a query that is a number": ("rerank", {**ASKED, "query": 7}, "(HTTP 400)"),
    "an unknown model": ("rerank", {**ASKED, "model": "serch"}, 'unknown model "serch"'),
    "an argument that there is not": ("rerank", {**ASKED, "topn": 1}, "unknown field `topn`"),
    "a tool that there is not": ("rank", ASKED, 'there is no tool "rank"'),
}


@pytest.mark.parametrize(("tool", "arguments", "message"), REFUSED.values(), ids=REFUSED)
async def test_what_is_wrong_is_told_to_the_model(url: str, tool: str, arguments: dict[str, Any], message: str) -> None:
    async with agent(url) as client:
        answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    assert message in answer.content[0].text


DOCUMENTS: dict[str, tuple[Any, str]] = {
    "an object with a text": ({"text": "red apple", "id": 7}, "red apple"),
    "an object without one": ({"title": "red apple"}, '{"title":"red apple"}'),
}


@pytest.mark.parametrize(("document", "text"), DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_document_comes_back_as_a_text(url: str, document: Any, text: str) -> None:
    """The gateway takes objects, and a client refuses a result that is not of the promised shape."""
    async with agent(url) as client:
        answer = await client.call_tool("rerank", {**ASKED, "documents": ["green pear", document]})
    assert not answer.is_error
    jsonschema.validate(answer.structured_content, TOOLS[0].output_schema)
    assert text in [row["text"] for row in answer.structured_content["results"]]


@pytest.mark.parametrize("below", ["", "/", "/v1", "/v1/rerank"])
async def test_any_form_of_the_url_reaches_both_tools(url: str, below: str) -> None:
    async with Client(by_stdio(url + below)) as client:
        assert not (await client.call_tool("list_rerankers", {})).is_error
        assert not (await client.call_tool("rerank", ASKED)).is_error, "it looks for the default model first"


async def test_no_password_is_told_to_a_model() -> None:
    async with Client(by_stdio("http://user:pass@127.0.0.1:9/v1?key=pass")) as client:
        answer = await client.call_tool("list_rerankers", {})
    assert answer.is_error
    assert "cannot reach the gateway at http://127.0.0.1:9/v1:" in answer.content[0].text
    assert "pass" not in answer.content[0].text


def test_a_key_that_is_none_is_told_at_the_start(url: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "RERANK_GATEWAY_KEY": "schl\u00fcssel"}
    command = [sys.executable, "-m", "gateway", "mcp", "--url", url]
    ended = subprocess.run(command, env=environ, input="", capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "RERANK_GATEWAY_KEY is not a key" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_key_can_do_no_more_than_elsewhere(url: str) -> None:
    async with agent(url, NARROW) as client:
        listed = (await client.call_tool("list_rerankers", {})).structured_content
        assert ([model["model"] for model in listed["rerankers"]], listed["default_model"]) == (["other"], None)
        refused = await client.call_tool("rerank", {**ASKED, "model": "search"})
        assert (refused.is_error, "may not use the model" in refused.content[0].text) == (True, True)
        assert not (await client.call_tool("rerank", ASKED)).is_error, "the only model needs no name"
        limited = await client.call_tool("rerank", ASKED)
        assert (limited.is_error, "HTTP 429" in limited.content[0].text) == (True, True)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {NARROW}"}) as http:
        usage = (await http.get(f"{url}/v1/usage")).json()["data"]
    assert [(row["model"], row["requests"]) for row in usage] == [("up/n", 1)]


async def test_an_answer_without_a_model_is_marked(url: str, vendor: Any) -> None:
    usual = vendor.behaviour
    vendor.reply_with(500, {})
    try:
        async with agent(url) as client:
            answer = await client.call_tool("rerank", {**ASKED, "model": "other"})
    finally:
        vendor.behaviour = usual
    assert answer.structured_content["degraded"] is True


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HEADERS = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("verb", "headers", "content", "status"),
    [
        pytest.param("POST", {"authorization": "Bearer wrong"}, json.dumps(CALL), 401, id="a wrong key"),
        pytest.param("POST", {"authorization": ""}, json.dumps(CALL), 401, id="no key"),
        pytest.param("POST", {}, "{", 400, id="no JSON"),
        pytest.param("POST", {}, json.dumps({"a": 1}), 400, id="no JSON-RPC"),
        pytest.param("POST", {"content-encoding": "br2"}, "{}", 415, id="an unknown coding"),
        pytest.param("GET", {}, None, 405, id="a stream that nothing would be sent on"),
        pytest.param("DELETE", {}, None, 405, id="the end of a session that there is not"),
    ],
)
async def test_requests_that_are_no_calls(
    url: str, verb: str, headers: dict[str, str], content: str | None, status: int
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.request(
            verb, f"{url}/mcp", headers={**HEADERS, "content-type": "application/json", **headers}, content=content
        )
    assert answer.status_code == status
    if status in (401, 405, 415):
        assert answer.json()["message"]
        assert answer.headers["x-request-id"]


async def test_a_body_over_the_limit(opened, upstream) -> None:
    settings = {
        "auth": "none",
        "server": {"mcp": True},
        "request_limits": {"body_bytes": 1024},
        "providers": {"up": {"adapter": "cohere", "base_url": upstream.url, "api_key": "k"}},
    }
    client = await opened(settings)
    answer = await client.post("/mcp", content=b"x" * 1025, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    foreign = await client.post("/mcp", json=CALL, headers={"origin": "https://evil.example", **HEADERS})
    assert foreign.status_code == 403


async def test_there_is_none_unless_it_is_asked_for(opened, upstream) -> None:
    client = await opened({"auth": "none", "providers": {"up": {"adapter": "cohere", "base_url": upstream.url}}})
    assert (await client.post("/mcp", json=CALL, headers=HEADERS)).status_code == 404


def test_without_its_packages_the_setting_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(extras, "missing_for_mcp", needs("mcp", "no_such_module"))
    with pytest.raises(ConfigError, match=r"server.mcp: needs packages that are not installed: pip install .*mcp"):
        from_tree({"server": {"mcp": True}, "providers": {"cohere": {"api_key": "k"}}})


async def test_a_gateway_that_is_not_there_is_told_over_standard_input() -> None:
    async with Client(by_stdio("http://127.0.0.1:9")) as client:
        answer = await client.call_tool("rerank", ASKED)
    assert answer.is_error
    assert "cannot reach the gateway at http://127.0.0.1:9" in answer.content[0].text


async def test_an_agent_that_hangs_up_ends_its_call(url: str, vendor: Any) -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "rerank", "arguments": ASKED}}
    vendor.hold()
    try:
        before = len(vendor.requests)
        async with httpx.AsyncClient(headers=HEADERS) as client:
            asking = asyncio.create_task(client.post(f"{url}/mcp", json=call))
            async with asyncio.timeout(20):
                while len(vendor.requests) == before:  # noqa: ASYNC110  # another thread appends to it
                    await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(20), httpx.AsyncClient(headers=HEADERS) as client:
            while 'outcome="cancelled"' not in (await client.get(f"{url}/metrics")).text:  # noqa: ASYNC110  as seen outside
                await asyncio.sleep(0.05)
    finally:
        vendor.release()
