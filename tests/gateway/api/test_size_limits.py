"""Limits: what is refused, and that the refusal names the limit's key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import size_limits
from gateway.api.size_limits import check_structure
from gateway.config.limits import RequestLimitSettings
from gateway.errors import TooLarge
from gateway.runtime.ranking import check_documents
from providers.errors import InvalidRequest
from providers.types import RerankRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.text(alphabet='ab"\\{}[]\né', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a"\\{[', max_size=3), inner, max_size=4)
    ),
    max_leaves=40,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(json_values, st.integers(3, 8), st.booleans())
def test_depth_is_counted_as_a_parser_would(value: Any, limit: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    if depth(value) > limit:
        with pytest.raises(InvalidRequest, match=r"limits\.json_depth"):
            check_structure(body, RequestLimitSettings(json_depth=limit))
    else:
        check_structure(body, RequestLimitSettings(json_depth=limit))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_tower_of_brackets_is_refused_before_it_is_parsed(opening: bytes) -> None:
    with pytest.raises(InvalidRequest, match="more than 64 levels"):
        check_structure(opening * 100_000, RequestLimitSettings())


def test_brackets_in_a_document_are_text() -> None:
    check_structure(
        json.dumps({"documents": ["[[[{{{" * 1000, '\\"[' * 1000]}).encode(), RequestLimitSettings(json_depth=3)
    )


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        pytest.param(["a"] * 4, "4 documents are more than the limit of 3", id="too many"),
        pytest.param(
            ["a", "b" * 9], "document at index 1 has more than 8 bytes.*request_limits.document_bytes", id="too large"
        ),
        pytest.param(["é" * 5], "document at index 0 has more than 8 bytes", id="bytes, not characters"),
        pytest.param(["é" * 4] * 3, None, id="just right"),
    ],
)
def test_documents(documents: list[Any], told: str | None) -> None:
    request = RerankRequest(model="m", query="q", documents=documents)
    chosen = RequestLimitSettings(documents=3, document_bytes=8)
    if told is None:
        check_documents(request, 1000, chosen)
    else:
        with pytest.raises(TooLarge, match=told):
            check_documents(request, 1000, chosen)


MANY = 600_000

TOO_MANY: dict[str, bytes] = {
    "numbers": b'{"documents":[{"a":[' + b"1," * MANY,
    "lists": b'{"documents":[{"a":[' + b"[]," * MANY,
    "nested lists": b'{"documents":[{"a":[' + b"[[[]]]," * (MANY // 3),
    "keys": b'{"documents":[{' + b'"k":1,' * MANY,
    "documents": b'{"documents":[' + b'"a",' * MANY,
    "an unknown field": b'{"x":[' + b'"",' * MANY,
    "strings with escaped quotes": b'{"x":[' + b'"\\"\\\\",' * MANY,
}


@pytest.mark.parametrize("body", TOO_MANY.values(), ids=TOO_MANY)
def test_too_many_values_are_refused_before_they_are_decoded(body: bytes) -> None:
    with pytest.raises(TooLarge, match=r"500000 values, the limit \(request_limits\.json_values\)"):
        check_structure(body, RequestLimitSettings())


@pytest.mark.parametrize("text", [",", "[", "{", '\\",[', "\\\\\\\\"])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    check_structure(b'{"documents":["' + text.encode() * MANY + b'"]}', RequestLimitSettings())


@given(st.binary(max_size=40), st.integers(1, 8))
def test_where_the_pieces_end_makes_no_difference(tail: bytes, size: int) -> None:
    """Brackets after a text of escapes are found wherever it is cut."""
    body = b'{"a":"' + tail.replace(b'"', b"").replace(b"\\", b"\\\\") + b'\\"[[","b":[[[1]]]}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size_limits, "_PIECE_BYTES", size)
        check_structure(body, RequestLimitSettings(json_depth=4))
        with pytest.raises(InvalidRequest):
            check_structure(body, RequestLimitSettings(json_depth=3))
