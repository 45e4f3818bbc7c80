"""Names in URLs: whatever a caller writes stays the name of a model, and reaches no other endpoint."""

from __future__ import annotations

import httpx
import pytest

from providers.errors import InvalidRequest
from providers.wire.paths import quote_path, quote_segment

SEGMENTS = {
    "plain": ("rerank-v3.5", "rerank-v3.5"),
    "at and colon": ("@cf:0", "@cf:0"),
    "a slash": ("a/b", "a%2Fb"),
    "a step up": ("../admin", "..%2Fadmin"),
    "a query": ("m?x=1&y", "m%3Fx%3D1%26y"),
    "a fragment": ("m#x", "m%23x"),
    "quoted already": ("%2e%2e", "%252e%252e"),
    "line breaks": ("m\r\nx: y", "m%0D%0Ax%3A y".replace(" ", "%20").replace("%3A", ":")),
    "a backslash": ("..\\m", "..%5Cm"),
    "not ASCII": ("modèle", "mod%C3%A8le"),
    "half a pair": ("\ud800", "%3F"),
    "three dots": ("...", "..."),
}


@pytest.mark.parametrize(("name", "quoted"), SEGMENTS.values(), ids=SEGMENTS)
def test_a_name_is_one_segment(name: str, quoted: str) -> None:
    assert quote_segment(name) == quoted
    assert httpx.URL(f"https://x.example/v1/{quoted}/rerank").raw_path == f"/v1/{quoted}/rerank".encode()


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_cannot_be_a_segment_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be part of a URL"):
        quote_segment(name)


def test_slashes_may_part_segments() -> None:
    assert quote_path("BAAI/bge reranker") == "BAAI/bge%20reranker"


@pytest.mark.parametrize("name", ["", "/m", "m/", "a//b", "a/../b", "..", "a/."])
def test_no_segment_of_a_path_is_empty_or_a_step(name: str) -> None:
    with pytest.raises(InvalidRequest):
        quote_path(name)
