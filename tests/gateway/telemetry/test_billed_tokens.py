"""Where a provider bills other tokens than it used, all that is about money and load goes by the billed ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.telemetry.conftest import BODY
from tests.gateway.telemetry.test_metrics import read, value

CASES: dict[str, tuple[dict[str, Any], int, float | None]] = {
    "more billed than used": ({"tokens": {"input_tokens": 57}, "billed_units": {"input_tokens": 60}}, 60, 3e-6),
    "fewer billed than used": ({"tokens": {"input_tokens": 57}, "billed_units": {"input_tokens": 40}}, 40, 2e-6),
    "billed output too": (
        {"tokens": {"input_tokens": 57}, "billed_units": {"input_tokens": 50, "output_tokens": 10}},
        60,
        3e-6,
    ),
    "none billed": ({"tokens": {"input_tokens": 60}, "billed_units": {"input_tokens": 0}}, 60, 3e-6),
    "billed only": ({"billed_units": {"input_tokens": 60}}, 60, 3e-6),
    "used only": ({"tokens": {"input_tokens": 60}}, 60, 3e-6),
    "a lie": ({"tokens": {"input_tokens": 60}, "billed_units": {"input_tokens": -5}}, 60, 3e-6),
}


@pytest.mark.parametrize("convention", ["gen_ai", "gen_ai_v1_36", "openinference"])
@pytest.mark.parametrize(("meta", "tokens", "cost"), CASES.values(), ids=CASES)
async def test_billed_tokens_are_what_is_reported(
    opened, settings, spans, upstream, convention, meta, tokens, cost
) -> None:
    upstream.reply_with(200, {"results": [{"index": 0, "relevance_score": 0.9}], "meta": meta})
    traces = {"conventions": convention}
    price = {"cohere/m": {"per_million_tokens": 0.05}}
    client = await opened(settings(telemetry={"traces": traces}, prices=price))
    answer = (await client.post("/v1/rerank", json=BODY)).json()
    samples = await read(client)
    assert value(samples, "rerank_gateway_tokens_total", provider="cohere") == tokens
    assert value(samples, "rerank_gateway_cost_usd_total", provider="cohere") == pytest.approx(cost)
    name = "llm.token_count.prompt" if convention == "openinference" else "gen_ai.usage.input_tokens"
    assert spans.named("rerank")[0][name] == tokens
    used = meta.get("tokens", meta.get("billed_units", {}))
    assert answer["usage"]["prompt_tokens"] == used["input_tokens"]
