"""`providers NAME`: everything that an adapter declares is told, and where it was read."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.cli.adapter_details import details
from gateway.cli.capabilities import cells
from providers import registry
from providers.capabilities import resolve
from providers.spec import HttpProvider

TODAY = date(2026, 6, 1)
ADAPTERS = registry.names()


@pytest.mark.parametrize("name", ADAPTERS)
def test_all_that_is_declared_is_told(name: str) -> None:
    adapter = registry.find(name)
    told = details(adapter, TODAY)
    assert told.startswith(f"adapter{' ' * 10}{name}\n")
    assert all(field in told for field in adapter.fields)
    if isinstance(adapter, HttpProvider):
        assert (adapter.base_url or "…") in told
        assert (adapter.api_key_env or "none is usual") in told
    for pattern in adapter.capabilities:
        row = next(line for line in told.splitlines() if line.startswith(f"{name}/{pattern} "))
        assert all(cell in row for cell in cells(adapter, resolve(pattern, adapter.capabilities)))


@pytest.mark.parametrize("name", [name for name in ADAPTERS if isinstance(registry.find(name), HttpProvider)])
def test_every_adapter_of_a_vendor_says_where_its_facts_were_read(name: str) -> None:
    assert registry.source_of(name).endswith(")")


TOLD = {
    "a key in a header": ("azure", "sent as `api-key: …`"),
    "a key after a scheme": ("elastic", "sent as `authorization: ApiKey …`"),
    "a bearer key": ("cohere", "sent as `authorization: Bearer …`\n"),
    "a key that may be left out": ("vllm", "Bearer …`; may be left out"),
    "requests that are signed": ("bedrock", "requests are signed (AWS Signature Version 4)"),
    "a token that is fetched": ("vertex", "an access token of Google Cloud is sent as a bearer token"),
    "a model that reads pictures": ("jina", "jina/jina-reranker-m0   unknown   unknown  pictures"),
    "a required option": ("cloudflare", "account_id (required)"),
    "an optional one": ("compatible", "options          path\n"),
    "a model in the path": ("deepinfra", "https://api.deepinfra.com/v1/inference/MODEL\n"),
    "a score API": ("vllm", "/v1/score"),
    "an end that is past": ("dashscope", "gte-rerank was retired on 2026-05-30; use qwen3-rerank"),
    "an end to come": ("pinecone", "will be answered by cohere-rerank-4-fast from 2026-08-01 on"),
    "one line for each model that ended": ("azure", "\nCohere-rerank-v3-multilingual was retired on 2025-06-30; use "),
    "no server at all": ("local", "in this process"),
}


@pytest.mark.parametrize(("name", "text"), TOLD.values(), ids=TOLD)
def test_what_is_told(name: str, text: str) -> None:
    assert text in details(registry.find(name), TODAY)


def test_an_adapter_that_is_unknown_has_no_source() -> None:
    with pytest.raises(LookupError, match='unknown adapter "nobody"'):
        registry.source_of("nobody")
