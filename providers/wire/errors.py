"""The vendor's own sentence out of an error body, whichever family of shapes it is of.

    {"message": "…"}                                    Cohere; AWS-like
    {"detail": "…", "errors": [{"field", "message"}]}   Jina, Voyage (without `errors`)
    {"detail": [{"loc": […], "msg": "…"}]}              FastAPI's own: older Jina, Infinity
    {"detail": {"error": "…"}}                          DeepInfra
    {"error": {"message": "…"}}                         vLLM, OpenAI-like
    {"error": "…"}                                      vLLM's authentication, TEI
    {"object": "error", "message": "…"}                 vLLM until mid-2025

Anything else (an edge's HTML page, plain text, an empty body) has no sentence of the vendor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_SENTENCE = ("message", "msg", "detail", "error")
_DEPTH = 4


def error_message(body: bytes) -> str:
    """The vendor's sentence, "" if there is none. Never raises. FastAPI's `input`, the caller's words, is left out."""
    try:
        return _sentence(msgspec.json.decode(body), _DEPTH)
    except (ValueError, RecursionError):
        return ""


def _sentence(said: Any, depth: int) -> str:
    if isinstance(said, str):
        return said.strip()
    if isinstance(said, list) and depth:
        return "; ".join(filter(None, (_complaint(each, depth - 1) for each in said)))
    if isinstance(said, Mapping) and depth:
        return _with_complaints(_first(said, depth - 1), _sentence(said.get("errors"), depth - 1))
    return ""


def _first(said: Mapping[str, Any], depth: int) -> str:
    return next(filter(None, (_sentence(said.get(name), depth) for name in _SENTENCE)), "")


def _with_complaints(sentence: str, complaints: str) -> str:
    return f"{sentence} ({complaints})" if sentence and complaints else sentence or complaints


def _complaint(said: Any, depth: int) -> str:
    """One entry of a list of complaints, with the name of the field it is about."""
    sentence = _sentence(said, depth)
    place = _place(said) if isinstance(said, Mapping) else ""
    return f"{place}: {sentence}" if place and sentence else sentence


def _place(said: Mapping[str, Any]) -> str:
    place = said.get("loc") or said.get("field") or ""
    return ".".join(map(str, place)) if isinstance(place, list) else str(place)
