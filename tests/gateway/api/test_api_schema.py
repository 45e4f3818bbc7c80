"""What the OpenAPI document promises, tried with requests that schemathesis makes: no 5xx that it does not document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

PATHS = ["/v1/rerank", "/v2/rerank", "/v1/models", "/livez", "/readyz", "/v1/status"]


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any]) -> str:
    """Of a gateway with one target that always answers, and one that never does."""
    dead = {"adapter": "jina", "base_url": "http://127.0.0.1:1/v1", "proxy": "none", "retry": {"retries": 0}}
    gateway = start_gateway(
        {"providers": {"passthrough": {}, "dead": dead}, "models": {"best": {"target": "passthrough/order"}}}
    )
    gateway.wait_until_ready()
    return str(gateway.url)


@pytest.mark.parametrize("path", PATHS)
def test_no_5xx_that_is_not_documented(url: str, path: str) -> None:
    document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    chosen = [operation for operation in operations if operation.path == path]
    assert chosen, f"{path} is not in the document"
    for operation in chosen:
        _try(operation, url, set(document["paths"][path][operation.method]["responses"]))


def _try(operation: Any, url: str, documented: set[str]) -> None:
    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def each(case: Any) -> None:
        for model in ("best", "dead/m", None):
            if model is not None and isinstance(case.body, dict):
                case.body["model"] = model
            answer = case.call(base_url=url)
            assert answer.status_code < 500 or str(answer.status_code) in documented, answer.text

    each()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"model": 1}',
        b'{"model":"best","query":"q","documents":{"a":1}}',
        b'{"model":"best","query":"q","documents":[null]}',
        b'{"model":"best","query":"q","documents":["a"],"top_n":99999999999999999999}',
        b'{"model":"\\ud800","query":"\\ud800","documents":["\\ud800"]}',
        b'{"model":"best","query":"q","documents":[{"text":{"a":[]}}]}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode("ascii", "replace"),
)
def test_no_body_breaks_it(url: str, body: bytes) -> None:
    answer = httpx.post(f"{url}/v1/rerank", content=body, trust_env=False)
    assert answer.status_code < 500, answer.text
