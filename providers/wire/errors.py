"""The vendor's own sentence out of an error body, whichever family of shapes it is of.

    {"message": "…"}                                    Cohere; AWS-like
    {"detail": "…", "errors": [{"field", "message"}]}   Jina, Voyage (without `errors`)
    {"detail": [{"loc": […], "msg": "…"}]}              FastAPI's own: older Jina, Infinity
    {"detail": {"error": "…"}}                          DeepInfra
    {"error": {"message": "…"}}                         vLLM, OpenAI-like
    {"error": "…"}                                      vLLM's authentication, TEI
    {"object": "error", "message": "…"}                 vLLM until mid-2025
    {"errors": [{"message": "…"}], "success": false}    Cloudflare
    {"error": true, "reason": "…"}                      and the like: further names of a sentence

Anything else (an edge's HTML page, plain text, an empty body) has no sentence of the vendor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.wire.json_text import parse

_SENTENCE = (
    *("message", "msg", "detail", "error", "error_message", "errorMessage", "error_msg", "error_description"),
    *("Message", "errmsg", "reason", "details", "description", "exception", "title"),
)
_DEPTH = 4


def error_message(body: bytes) -> str:
    """The vendor's sentence, "" if there is none. Never raises. FastAPI's `input`, the caller's words, is left out."""
    try:
        return message_of(parse(body))
    except (ValueError, RecursionError):
        return ""


def message_of(value: Any) -> str:
    """The vendor's sentence in an error body that is decoded already, "" if there is none. Never raises."""
    return _sentence(value, _DEPTH).encode(errors="replace").decode()


def _sentence(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (_detail(each, depth - 1) for each in value)))
    if isinstance(value, Mapping) and depth:
        return _join(_first(value, depth - 1), _sentence(value.get("errors"), depth - 1))
    return ""


def _first(value: Mapping[str, Any], depth: int) -> str:
    return next(filter(None, (_sentence(value.get(name), depth) for name in _SENTENCE)), "")


def _join(sentence: str, details: str) -> str:
    return f"{sentence} ({details})" if sentence and details else sentence or details


def _detail(value: Any, depth: int) -> str:
    """One entry of a list of errors, with the name of the field it is about."""
    sentence = _sentence(value, depth)
    field = _field(value) if isinstance(value, Mapping) else ""
    return f"{field}: {sentence}" if field and sentence else sentence


def _field(value: Mapping[str, Any]) -> str:
    place = value.get("loc") or value.get("field") or ""
    return ".".join(map(str, place)) if isinstance(place, list) else str(place)
