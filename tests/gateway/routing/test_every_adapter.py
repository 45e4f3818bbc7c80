"""Every adapter behind HTTP through the whole gateway, with a vendor on loopback that answers each recorded body."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from providers.spec import Header, HttpProvider
from providers.testing import ScriptedUpstream

WIRE = Path(__file__).parents[2] / "wire"
ADAPTERS = {
    provider.name: provider for provider in map(registry.find, registry.names()) if isinstance(provider, HttpProvider)
}
SUCCESSES = sorted(name for name in ADAPTERS if (WIRE / name / "success.json").exists())
ERRORS = sorted(f"{name}/{body.stem}" for name in ADAPTERS for body in (WIRE / name).glob("error_*.json"))
DOCUMENTS = ["tubes", "helmets", "sealant", "pumps", "patches"]


@pytest.fixture
def ask(opened: Any, upstream: ScriptedUpstream) -> Any:
    """Rank by that adapter, the vendor on loopback being its base URL."""

    async def post(name: str, **settings: Any) -> Any:
        provider = {"adapter": name, "base_url": upstream.url, "api_key": "secret-key", "retry": {"retries": 0}}
        client = await opened({"providers": {"vendor": {**provider, **settings}}})
        body = {"model": "vendor/a/model-1", "query": "how long does a tube last", "documents": DOCUMENTS, "top_n": 3}
        return await client.post("/v1/rerank", json=body)

    return post


@pytest.mark.parametrize("name", SUCCESSES)
async def test_ranks(name: str, ask: Any, upstream: ScriptedUpstream) -> None:
    provider, body = ADAPTERS[name], (WIRE / name / "success.json").read_bytes()
    upstream.reply_with(200, body)
    answer = await ask(name)
    assert answer.status_code == 200, answer.text
    scores = [row["relevance_score"] for row in answer.json()["results"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 <= len(scores) <= 3
    (request,) = upstream.requests
    assert request.path == (provider.path if isinstance(provider.path, str) else provider.path("a/model-1"))
    where = provider.auth.name if isinstance(provider.auth, Header) else "authorization"
    assert request.headers[where] == ("secret-key" if where != "authorization" else "Bearer secret-key")


@pytest.mark.parametrize("case", ERRORS)
async def test_tells_the_vendor_s_own_sentence(case: str, ask: Any, upstream: ScriptedUpstream) -> None:
    name, body = case.partition("/")[0], (WIRE / f"{case}.json").read_bytes()
    status = re.search(r"error_(\d{3})", case)
    assert status is not None
    upstream.reply_with(int(status[1]), json.loads(body))
    answer = await ask(name)
    assert answer.status_code >= 400
    if int(status[1]) in (401, 402, 403):  # Those are the gateway's to mend, and may echo parts of its key.
        assert answer.json()["error_type"] == "upstream_credentials"
    else:
        assert ADAPTERS[name].error_message(body) in answer.json()["message"]


async def test_a_compatible_server_has_its_endpoint_where_its_options_say(ask: Any, upstream: ScriptedUpstream) -> None:
    upstream.behave("ranks")
    assert (await ask("compatible", options={"path": "/api/rank"})).status_code == 200
    assert [request.path for request in upstream.requests] == ["/api/rank"]


async def test_the_figures_of_a_gateway_behind_this_one_are_shown(ask: Any, upstream: ScriptedUpstream) -> None:
    upstream.reply_with(200, (WIRE / "gateway" / "success.json").read_bytes())
    shown = (await ask("gateway")).json()["extra_fields"]
    assert (shown["provider"], shown["truncated_documents"], shown["queue_ms"]) == ("vendor", 2, 3.5)
    assert "cost" not in shown
