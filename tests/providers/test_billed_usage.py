"""Whatever adapter reads an answer that tells both the tokens used and the tokens billed keeps both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from providers import registry
from providers.errors import BadAnswer
from providers.spec import HttpProvider
from providers.types import RerankRequest, Usage

WIRE = Path(__file__).parents[1] / "wire"
REQUEST = RerankRequest(model="m", query="q", documents=["a", "b", "c", "d", "e"])
USED = {"input_tokens": 57, "output_tokens": 0}

ADDED: dict[str, dict[str, Any]] = {
    "tokens and billed units": {"meta": {"tokens": USED, "billed_units": {"input_tokens": 60, "search_units": 1}}},
    "billed output": {"meta": {"tokens": USED, "billed_units": {"input_tokens": 50, "output_tokens": 10}}},
    "billed in total": {"meta": {"tokens": USED, "billed_units": {"total_tokens": 60, "search_units": 1}}},
    "usage and billed units": {
        "usage": {"prompt_tokens": 57, "total_tokens": 57},
        "meta": {"billed_units": {"input_tokens": 60}},
    },
    "usage, tokens and billed units": {
        "usage": {"prompt_tokens": 57, "total_tokens": 57},
        "meta": {"tokens": USED, "billed_units": {"total_tokens": 60}},
    },
    "usage with billed tokens": {"usage": {"prompt_tokens": 57, "total_tokens": 57, "billed_tokens": 60}},
}


def read(adapter: str, added: dict[str, Any]) -> Usage | None:
    provider = registry.find(adapter)
    path = WIRE / adapter / "success.json"
    if not isinstance(provider, HttpProvider) or not path.exists():
        pytest.skip("no answer in JSON")
    body = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(body, dict):
        pytest.skip("an answer without room for counts")
    bare = {name: value for name, value in body.items() if name not in ("usage", "meta", "tokens")}
    try:
        return provider.decode(json.dumps(bare | added).encode(), REQUEST).usage
    except BadAnswer:  # It answers by position, and so to as many documents as there are scores.
        rows = next(value for value in body.values() if isinstance(value, list))
        request = replace(REQUEST, documents=REQUEST.documents[: len(rows)])
        return provider.decode(json.dumps(bare | added).encode(), request).usage


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
@pytest.mark.parametrize("adapter", registry.names())
def test_no_adapter_reads_the_used_tokens_alone(adapter, added) -> None:
    usage = read(adapter, added)
    if usage is None or usage.prompt_tokens != 57:
        return  # It knows no such counts: its own are in its wire cases.
    is_read = "billed_tokens" in added.get("usage", {}) or reads_meta(adapter)
    assert usage.charged_tokens == (60 if is_read else 57)


def reads_meta(adapter: str) -> bool:
    try:
        usage = read(adapter, {"meta": {"tokens": {"input_tokens": 9}}})
    except pytest.skip.Exception:
        return False
    return usage is not None and usage.prompt_tokens == 9


def test_which_adapters_read_what_is_billed() -> None:
    found = {name for name in registry.names() if (WIRE / name / "success.json").exists() and reads_meta(name)}
    assert found >= {"cohere", "cohere-v1", "azure", "siliconflow", "litellm", "compatible"}
