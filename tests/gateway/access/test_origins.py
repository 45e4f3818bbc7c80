"""Without keys, no page of another origin spends: neither a script's request nor a form's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.access.conftest import Upstream, body, key

EVIL = ("origin", "https://evil.net")
OWN = ("origin", "http://gateway")
APP = ("origin", "https://app.example.com")


def site(value: str) -> tuple[str, str]:
    return "sec-fetch-site", value


REQUESTS: dict[str, tuple[list[tuple[str, str]], bool]] = {
    "no browser": ([], True),
    "the gateway's own page": ([OWN, site("same-origin")], True),
    "the gateway's own page, in an old browser": ([OWN], True),
    "its own page behind a proxy that ends TLS": ([("origin", "https://gateway")], True),
    "a link that the user typed": ([site("none")], True),
    "a named origin": ([APP, site("cross-site")], True),
    "a named origin in an old browser": ([APP], True),
    "another site": ([EVIL, site("cross-site")], False),
    "another site in an old browser": ([EVIL], False),
    "another site without an origin": ([site("cross-site")], False),
    "another port": ([("origin", "http://gateway:3000"), site("same-site")], False),
    "a name that begins like ours": ([("origin", "http://gateway.evil.net")], False),
    "a name that ends like ours": ([("origin", "http://evil-gateway")], False),
    "a name that begins like a named one": ([("origin", "https://app.example.com.evil.net")], False),
    "a named origin by another scheme": ([("origin", "http://app.example.com")], False),
    "a sandboxed frame or a file": ([("origin", "null")], False),
    "nothing for an origin": ([("origin", "")], False),
    "an extension": ([("origin", "chrome-extension://abcdef")], False),
    "our name, but from another site": ([OWN, site("cross-site")], False),
}


@pytest.mark.parametrize("path", ["/v1/rerank", "/cohere/v2/rerank", "/tei/rerank", "/jina/v1/rerank"])
@pytest.mark.parametrize(("headers", "served"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_pages_of_other_origins_are_refused_without_keys(
    headers: list[tuple[str, str]], served: bool, path: str, serve: Any, upstream: Upstream
) -> None:
    client = await serve(server={"cors": ["https://app.example.com"]})
    # A form's request, which no browser asks about first.
    headers = [*headers, ("content-type", "text/plain")]
    answer = await client.post(path, content=json.dumps(body()), headers=headers)
    assert (answer.status_code == 403) == (not served)
    if path == "/v1/rerank":
        assert answer.status_code == 200 if served else answer.json()["error_type"] == "foreign_origin"
        assert len(upstream.calls) == int(served)
    assert "evil" not in answer.text


async def test_where_keys_are_asked_for_the_key_decides(serve: Any, upstream: Upstream) -> None:
    secret, entry = key()
    client = await serve(auth={"keys": [entry]})
    answer = await client.post("/v1/rerank", json=body(), headers=[EVIL, ("authorization", f"Bearer {secret}")])
    assert answer.status_code == 200
    assert (await client.post("/v1/rerank", json=body(), headers=[EVIL])).status_code == 401
