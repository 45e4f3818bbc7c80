"""The one wire shape of most rerank servers, with what they call its parts as data.

    {"model", "query", "documents": [text, …], …}  →  {"results": [{"index", "relevance_score"}], …}

A `Shape` says where a server differs; `encoder` and `decoder` make an adapter's two functions of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta as Bounds
from msgspec import Struct, defstruct
from msgspec.json import Decoder

from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.wire.cohere import Counts, Meta, usage_of
from providers.wire.fields import effective_top_n
from providers.wire.results import decode_response, known_usage

Encode = Callable[[RerankRequest], dict[str, Any]]
Decode = Callable[[bytes, RerankRequest], Ranking]


_TOP_N = MappingProxyType({"top_n": "top_n"})


class Shape(Struct, frozen=True, kw_only=True):
    """What a server calls the parts of its requests and answers.

    Attributes:
        takes: the optional fields that it honours: the name that callers write, and the server's own for it.
        always: sent with every request; a field of the caller's replaces it.
        model: the model's name; None where the server has one model and no such field.
        documents: the list of documents.
        holder: texts are sent as `{holder: text}`; None sends them as they are.
        rows: the list of results; None if it is the whole answer.
        score: a result's score.
    """

    takes: Mapping[str, str] = _TOP_N
    always: Mapping[str, bool | str] = {}
    model: str | None = "model"
    documents: str = "documents"
    holder: str | None = None
    rows: str | None = "results"
    score: str = "relevance_score"


def same(*names: str) -> dict[str, str]:
    """For `takes`: fields that the server calls as callers do."""
    return dict(zip(names, names, strict=True))


def encoder(shape: Shape) -> Encode:
    """The `encode` of an adapter with that shape."""

    def encode(request: RerankRequest) -> dict[str, Any]:
        return {
            **({shape.model: request.model} if shape.model else {}),
            "query": _held(request.query, shape.holder),
            shape.documents: [_held(document, shape.holder) for document in request.documents],
            **shape.always,
            **_optional(request, shape.takes),
        }

    return encode


def decoder(shape: Shape) -> Decode:
    """The `decode` of an adapter with that shape."""
    return _answer_decoder(shape.rows, shape.score) if shape.rows else _list_decoder(shape.score)


def _held(text: Any, holder: str | None) -> Any:
    return text if holder is None else {holder: text}


def _optional(request: RerankRequest, takes: Mapping[str, str]) -> dict[str, Any]:
    fields = {
        **request.extra,
        "top_n": effective_top_n(request),
        "max_tokens_per_doc": request.max_tokens_per_doc,
        "priority": request.priority,
    }
    return {theirs: fields[name] for name, theirs in takes.items() if fields.get(name) is not None}


class _Answer(Struct, kw_only=True):
    """What may stand beside the rows.

    Attributes:
        tokens: SiliconFlow's count until 2025, which is under `meta` now.
    """

    id: str | None = None
    usage: Usage | None = None
    meta: Meta | None = None
    tokens: Counts | None = None


@cache
def _answer_decoder(name: str, score: str) -> Decode:
    rows = ("rows", Annotated[list[_row(score)], Bounds(min_length=1)])  # type: ignore[misc]  # made from data
    typed = Decoder(defstruct("Answer", [rows], bases=(_Answer,), kw_only=True, rename={"rows": name}))

    def decode(body: bytes, request: RerankRequest) -> Ranking:
        answer: Any = decode_response(body, typed)
        return Ranking(results=_ranked(answer.rows), usage=_usage(answer), id=answer.id)

    return decode


@cache
def _list_decoder(score: str) -> Decode:
    typed = Decoder(Annotated[list[_row(score)], Bounds(min_length=1)])  # type: ignore[misc]  # made from data
    otherwise = _answer_decoder("results", "relevance_score")

    def decode(body: bytes, request: RerankRequest) -> Ranking:
        try:
            return Ranking(results=_ranked(typed.decode(body)))
        except (ValueError, RecursionError):
            return otherwise(body, request)

    return decode


def _row(score: str) -> type[Struct]:
    if score == "relevance_score":
        return Ranked
    return defstruct("Row", [("index", int), ("relevance_score", float)], rename={"relevance_score": score})


def _ranked(rows: list[Any]) -> list[Ranked]:
    return rows if type(rows[0]) is Ranked else [Ranked(row.index, row.relevance_score) for row in rows]


def _usage(answer: _Answer) -> Usage | None:
    return known_usage(answer.usage) or known_usage(usage_of(answer.meta or Meta(tokens=answer.tokens)))
