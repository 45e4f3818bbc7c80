"""One parser reads the error bodies of all vendors: each family of shapes, and what comes close to one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.wire.errors import error_message

DEEP: dict[str, Any] = {"error": {"error": {"error": {"error": {"error": {"message": "too deep to be meant"}}}}}}

CASES: dict[str, tuple[Any, str]] = {
    "a message": ({"message": "no", "id": "7d5c"}, "no"),
    "a detail": ({"detail": "no", "code": "NO", "request_id": "1"}, "no"),
    "a nested detail": ({"detail": {"error": "no"}}, "no"),
    "a nested error": ({"error": {"message": "no", "type": "Bad", "param": None, "code": 400}}, "no"),
    "an error with a status": ({"error": {"code": "INVALID", "message": "no"}, "status": 400}, "no"),
    "an error string": ({"error": "no", "error_type": "Validation"}, "no"),
    "a flat error": ({"object": "error", "message": "no", "type": "Bad", "param": None, "code": 400}, "no"),
    "a code with a message": ({"code": "InvalidParameter", "message": "no", "request_id": "1"}, "no"),
    "a bare string": ("no", "no"),
    "spaces around": ({"message": "  no\n"}, "no"),
    "complaints only": ({"errors": [{"field": "query", "message": "missing"}]}, "query: missing"),
    "complaints that are strings": ({"detail": ["one", "two"]}, "one; two"),
    "a complaint about an index": (
        {"detail": [{"loc": ["body", "documents", 3], "msg": "no"}]},
        "body.documents.3: no",
    ),
    "a complaint about nothing": ({"detail": [{"msg": "no"}, {}, None, 3]}, "no"),
    "an empty message before a full one": ({"message": "", "error": {"message": "no"}}, "no"),
    "a message that is no text": ({"message": 7, "detail": "no"}, "no"),
    "a reason": ({"error": True, "reason": "no"}, "no"),
    "capitals": ({"__type": "ValidationException", "Message": "no"}, "no"),
    "errors and a flag": ({"success": False, "errors": [{"code": 7, "message": "no"}], "result": None}, "no"),
    "an error's description": ({"error": {"code": 5, "description": "no"}}, "no"),
    "a problem's title": ({"type": "about:blank", "title": "no", "status": 400}, "no"),
    "a code, and a message of errors": ({"errcode": 4, "errmsg": "no"}, "no"),
    "half an emoji": ({"message": "no \ud83d"}, "no ?"),
    "NaN beside it": ({"message": "no", "after": float("nan")}, "no"),
    "only a code": ({"code": 500}, ""),
    "an empty object": ({}, ""),
    "an empty list": ([], ""),
    "nothing": (None, ""),
    "a number": (500, ""),
    "beyond any real depth": (DEEP, ""),
}


@pytest.mark.parametrize(("body", "sentence"), CASES.values(), ids=CASES)
def test_finds_the_sentence(body: Any, sentence: str) -> None:
    assert error_message(json.dumps(body).encode()) == sentence


def test_a_byte_order_mark_is_skipped() -> None:
    assert error_message(b'\xef\xbb\xbf{"message": "no"}') == "no"


def test_leaves_out_what_the_caller_sent() -> None:
    body = {"detail": [{"loc": ["body", "query"], "msg": "too long", "input": "a private query", "ctx": {"limit": 3}}]}
    assert error_message(json.dumps(body).encode()) == "body.query: too long"
