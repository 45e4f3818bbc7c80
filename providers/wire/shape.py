"""The one wire shape of most rerank servers, with what they call its parts as data.

    {"model", "query", "documents": [text, …], …}  →  {"results": [{"index", "relevance_score"}], …}

A `Shape` says where a server differs; `encoder` and `decoder` make an adapter's two functions of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Annotated, Any, Literal

from msgspec import Meta as Bounds
from msgspec import Struct, defstruct
from msgspec.json import Decoder

from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.wire.cohere import Counts, Meta, usage_of, with_billed
from providers.wire.fields import effective_top_n
from providers.wire.instruction import instructed_query
from providers.wire.results import decode_response, known_usage

Encode = Callable[[RerankRequest], dict[str, Any]]
Decode = Callable[[bytes, RerankRequest], Ranking]


_TOP_N = MappingProxyType({"top_n": "top_n"})


class Shape(Struct, frozen=True, kw_only=True):
    """What a server calls the parts of its requests and answers.

    Attributes:
        takes: the optional fields that it honours: the name that callers write, and the server's own for it. An
            instruction that the server calls `query` goes before the text of the query.
        words: the server's own words for values of a vendor's field, by the name that callers write and the value.
        always: sent with every request; a field of the caller's replaces it.
        model: the model's name; None where the server has one model and no such field.
        documents: the list of documents.
        holder: documents are sent as `{holder: text}`; None sends them as they are.
        query_holder: as `holder`, for the query.
        rows: the list of results; None if it is the whole answer.
        envelope: what holds that list, where it is not at the top.
        index: a result's document.
        score: a result's score.
        id: the answer's id.
        counts: where it says what it counted: in `usage`, in Cohere's `meta`, or in whichever of the known places.
        tokens: a count of tokens beside the rows, instead of those.
    """

    takes: Mapping[str, str] = _TOP_N
    words: Mapping[str, Mapping[Any, bool | str]] = {}
    always: Mapping[str, bool | str | int] = {}
    model: str | None = "model"
    documents: str = "documents"
    holder: str | None = None
    query_holder: str | None = None
    rows: str | None = "results"
    envelope: str | None = None
    index: str = "index"
    score: str = "relevance_score"
    id: str = "id"
    counts: Literal["usage", "meta", "any"] = "any"
    tokens: str | None = None


def same(*names: str) -> dict[str, str]:
    """For `takes`: fields that the server calls as callers do."""
    return dict(zip(names, names, strict=True))


def encoder(shape: Shape) -> Encode:
    """The `encode` of an adapter with that shape."""
    model, documents, holder, always = shape.model, shape.documents, shape.holder, shape.always
    known = [(_KNOWN[name], theirs) for name, theirs in shape.takes.items() if name in _KNOWN and theirs != "query"]
    own = [(name, theirs) for name, theirs in shape.takes.items() if name not in _KNOWN]
    words = shape.words
    query = instructed_query if shape.takes.get("instruction") == "query" else attrgetter("query")

    def encode(request: RerankRequest) -> dict[str, Any]:
        body: dict[str, Any] = {} if model is None else {model: request.model}
        body["query"] = query(request) if shape.query_holder is None else {shape.query_holder: query(request)}
        body[documents] = request.documents if holder is None else [{holder: text} for text in request.documents]
        body.update(always)
        for value_of, theirs in known:
            if (value := value_of(request)) is not None:
                body[theirs] = value
        if request.extra:
            extra = request.extra
            body.update({theirs: extra[name] for name, theirs in own if extra.get(name) is not None})
            for name in words.keys() & extra.keys():
                _say(words[name], body, shape.takes[name])
        return body

    return encode


def _say(words: Mapping[Any, bool | str], body: dict[str, Any], field: str) -> None:
    """Put the server's own word in the place of a value; what has none is sent as it is."""
    value = body.get(field)
    if isinstance(value, str | bool) and value in words:
        body[field] = words[value]


_KNOWN: Mapping[str, Callable[[RerankRequest], Any]] = {
    "top_n": effective_top_n,
    "max_tokens_per_doc": attrgetter("max_tokens_per_doc"),
    "priority": attrgetter("priority"),
    "instruction": lambda request: request.instruction or None,
}
"""The optional fields of our own contract; others are a vendor's."""


def decoder(shape: Shape) -> Decode:
    """The `decode` of an adapter with that shape."""
    counts = "tokens" if shape.tokens is not None else shape.counts
    rows, count = shape.rows or "results", shape.tokens or "count"
    flat = _flat(counts, shape.score, rows, shape.id, count)
    if shape.rows is None:
        return _whole(shape.score, flat)
    if shape.envelope is None:
        return flat
    inner = defstruct("Inner", [("rows", _rows(shape.index, shape.score))], rename={"rows": rows})
    return _enveloped(*_typed(counts, inner, {"rows": shape.envelope, "id": shape.id, "count": count}), flat)


def _any_usage(answer: Any) -> Usage | None:
    meta, usage = answer.meta or Meta(tokens=answer.tokens), known_usage(answer.usage)
    return with_billed(usage, meta) if usage else known_usage(usage_of(meta))


def _tokens(count: int | None) -> Usage | None:
    return known_usage(Usage(prompt_tokens=count, total_tokens=count))


_COUNTS: Mapping[str, tuple[dict[str, Any], Callable[[Any], Usage | None]]] = {
    "usage": ({"usage": Usage}, lambda answer: known_usage(answer.usage)),
    "meta": ({"meta": Meta}, lambda answer: known_usage(usage_of(answer.meta or Meta()))),
    "tokens": (
        {"count": int},
        lambda answer: known_usage(Usage(prompt_tokens=answer.count, total_tokens=answer.count)),
    ),
    # `tokens` is SiliconFlow's count until 2025, which is under `meta` now.
    "any": ({"usage": Usage, "meta": Meta, "tokens": Counts}, _any_usage),
}
"""What may stand beside the rows, and what was counted in it."""


@cache
def _flat(counts: str, score: str, rows: str, id: str, count: str) -> Decode:
    """Of the usual shape, and of every other that servers are known to answer."""
    typed, usage = _typed(counts, _rows("index", score), {"rows": rows, "id": id, "count": count})

    def decode(body: bytes, request: RerankRequest) -> Ranking:
        answer = decode_response(body, typed)
        return Ranking(results=_ranked(answer.rows), usage=usage(answer), id=answer.id)

    return decode


def _whole(score: str, otherwise: Decode) -> Decode:
    """Of an answer that is the list of results."""
    typed: Decoder[Any] = Decoder(_rows("index", score))

    def decode(body: bytes, request: RerankRequest) -> Ranking:
        try:
            return Ranking(results=_ranked(typed.decode(body)))
        except (ValueError, RecursionError):
            return otherwise(body, request)

    return decode


def _enveloped(typed: Decoder[Any], usage: Callable[[Any], Usage | None], otherwise: Decode) -> Decode:
    """Of an answer whose list of results is one level below the top."""

    def decode(body: bytes, request: RerankRequest) -> Ranking:
        try:
            answer = typed.decode(body)
        except (ValueError, RecursionError):
            return otherwise(body, request)
        return Ranking(results=_ranked(answer.rows.rows), usage=usage(answer), id=answer.id)

    return decode


def _typed(counts: str, rows: Any, names: Mapping[str, str]) -> tuple[Decoder[Any], Callable[[Any], Usage | None]]:
    """What decodes an answer with those rows, and what reads the usage out of it."""
    side, usage = _COUNTS[counts]
    fields: list[Any] = [("rows", rows), *((name, kind | None, None) for name, kind in {"id": str, **side}.items())]
    return Decoder(defstruct("Answer", fields, rename=names)), usage


def _rows(index: str, score: str) -> Any:
    row: type[Struct] = Ranked
    if (index, score) != ("index", "relevance_score"):
        fields = [("index", int), ("relevance_score", float)]
        row = defstruct("Row", fields, rename={"index": index, "relevance_score": score})
    return Annotated[list[row], Bounds(min_length=1)]  # type: ignore[valid-type]  # made from data


def _ranked(rows: list[Any]) -> list[Ranked]:
    return rows if type(rows[0]) is Ranked else [Ranked(row.index, row.relevance_score) for row in rows]
