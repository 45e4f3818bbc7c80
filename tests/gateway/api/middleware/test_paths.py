"""Wrong bases that users type are put right, without a redirect."""

from __future__ import annotations

import pytest

from gateway.api.middleware.paths import PathNormalization, normalize

PATHS = {
    "right": ("/v1/rerank", "/v1/rerank"),
    "the root": ("/", "/"),
    "a doubled slash": ("//rerank", "/rerank"),
    "doubled slashes inside": ("/v1///rerank", "/v1/rerank"),
    "only slashes": ("///", "/"),
    "a slash at the end": ("/v1/rerank/", "/v1/rerank"),
    "v1 twice": ("/v1/v1/rerank", "/v1/rerank"),
    "v2 after v1": ("/v1/v2/rerank", "/v2/rerank"),
    "v1 after v2": ("/v2/v1/rerank", "/v1/rerank"),
    "v2 twice": ("/v2/v2/rerank", "/v2/rerank"),
    "three times": ("/v1/v1/v2/rerank", "/v2/rerank"),
    "below a mount": ("/cohere/v1/v2/rerank", "/cohere/v2/rerank"),
    "all at once": ("//v1//v2/rerank//", "/v2/rerank"),
    "a word like a version": ("/v1/v1beta/rerank", "/v1/v1beta/rerank"),
    "a model like a version": ("/v1/models/v1", "/v1/models/v1"),
    "another path": ("/docs", "/docs"),
}


@pytest.mark.parametrize(("path", "meant"), PATHS.values(), ids=PATHS)
def test_repairs(path: str, meant: str) -> None:
    assert normalize(path) == meant


async def test_a_path_that_is_served_is_left_alone_and_others_are_repaired() -> None:
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append((scope["path"], scope["raw_path"]))

    async def direct(scope, receive, send) -> None:
        seen.append(("direct", scope["raw_path"]))

    forgiving = PathNormalization(app, {"/odd//": direct})
    for kind, path in (("http", "/odd//"), ("websocket", "/odd//"), ("http", "//déjà/")):
        await forgiving({"type": kind, "path": path, "raw_path": b"as it came"}, None, None)  # type: ignore[arg-type, typeddict-item]
    assert seen == [("direct", b"as it came"), ("/odd", b"/odd"), ("/déjà", b"/d%C3%A9j%C3%A0")]


@pytest.mark.parametrize(
    "path", ["//rerank", "/v1/v1/rerank", "/v1/v2/rerank", "/v2/v2/rerank", "/v1/rerank/", "/cohere/v1/v2/rerank/"]
)
async def test_a_post_is_answered_there(path: str, opened, upstream) -> None:
    client = await opened({"providers": {"v": {"adapter": "vllm", "base_url": upstream.url}}})
    response = await client.post(f"http://gateway{path}", json={"model": "v/m", "query": "q", "documents": ["a"]})
    assert (response.status_code, response.history) == (200, [])
