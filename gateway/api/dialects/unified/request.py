"""The unified dialect's request: decode it, check it, and make the canonical request.

The order of the checks and their messages are a contract (https://docs.getbifrost.ai/quickstart/gateway/reranking):
the first check that fails decides the message, and each is HTTP 400.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from math import isfinite
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.api.dialect import IncomingRequest, WireDocument
from gateway.api.dialects import unknown_fields
from gateway.api.dialects.blank import is_blank, none_blank
from gateway.api.dialects.pictures import MEDIA, are_parts, beside, to_parts
from gateway.api.dialects.relevant_spans import RelevantSpans, span_wishes, wants_spans
from gateway.api.dialects.unified.yaml_text import to_yaml
from gateway.api.dialects.unreadable import describe, words_of
from gateway.blocking import check_cancelled
from gateway.config.limits import MAX_FALLBACKS, NO_REQUEST_LIMITS, RequestLimitSettings
from providers.errors import InvalidRequest
from providers.types import Call, ContentParts, RerankRequest, ScoreScale, TextOrParts

BooleanText = Literal["true", "True", "TRUE", "false", "False", "FALSE"]
TRUE = ("true", "True", "TRUE")

PASSED_ON = {"max_chunks_per_doc"}
"""Fields of the body that are also vendors' own, for adapters that declare them."""

MAX_WHOLE_ID = 2**63
"""Whole numbers beyond are no ids of documents; thousands of digits cannot even be written out."""

_ONLY_STRINGS = {str}
_MEDIA = frozenset(MEDIA)
_PICTURE = {*MEDIA, "type", "id", "meta", "score"}
"""Keys of an object that is a picture and nothing else."""
_DATA = {"data", "text", "id", "meta", "score"}
"""Keys of an object whose `data` is a record to rank, and nothing else of it."""


class Body(Struct, kw_only=True):
    """The request body. A null means absent, unknown fields are named in the answer, `top_k` is the same as `top_n`.

    Numbers may be in quotes or have a fraction of zero, as in `2.0`. `return_documents` may be the text "true" or
    "false", which RAGFlow sends. A body with `texts` in place of `documents` is one for text-embeddings-inference, and
    its dialect reads it.

    Attributes:
        vendor_fields: names of the further fields that a subclass of `build_decoder` has.
    """

    vendor_fields: ClassVar[tuple[str, ...]] = ()

    model: str | None = None
    query: str | dict[str, Any] | None = None
    documents: list[WireDocument] | None = None
    texts: list[str] | None = None
    top_n: int | None = None
    top_k: int | UnsetType | None = UNSET
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: Any = UNSET
    priority: int | None = None
    return_documents: bool | BooleanText | None = None
    return_spans: bool | None = None
    relevant_spans: RelevantSpans | None = None
    fallbacks: list[str] | None = None
    instruction: str | None = None
    scores: ScoreScale | None = None
    min_score: float | None = None


def build_decoder(vendor_fields: Iterable[str]) -> Callable[[IncomingRequest], Body]:
    """Make a decoder of bodies that also keeps these fields, which adapters declare; see `unknown_fields.decoder`.

    Raises (when called): InvalidRequest for anything that is not JSON of the right types.
    """
    body_type = _body_with(vendor_fields)
    decode_json, words = unknown_fields.decoder(body_type), words_of(body_type)

    def decode(incoming: IncomingRequest) -> Body:
        try:
            return decode_json(incoming)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"invalid request format: {describe(incoming, error, words)}") from None
        except RecursionError:
            raise InvalidRequest("invalid request format: the JSON is nested too deeply") from None

    return decode


def _body_with(vendor_fields: Iterable[str]) -> type[Body]:
    declared = set(vendor_fields)
    names = tuple(sorted(declared - set(Body.__struct_fields__)))
    fields = [(name, Any, UNSET) for name in names]
    extended: type[Body] = msgspec.defstruct(  # type: ignore[assignment]  # it is one, by its bases
        "Body", fields, bases=(Body,), namespace={"vendor_fields": (*names, *(declared & PASSED_ON))}, kw_only=True
    )
    return extended


def to_request(
    body: Body, call: Call, is_alias: Callable[[str], bool], limits: RequestLimitSettings = NO_REQUEST_LIMITS
) -> RerankRequest:
    """Check the body, and make the canonical request.

    Args:
        body: as decoded.
        call: shared by all attempts for this request.
        is_alias: whether a fallback without a slash is a configured name.
        limits: on the number of documents.

    Raises:
        InvalidRequest: with the contract's message for the first check that fails.
        TooLarge: more documents than the limit.
    """
    if is_blank(body.model):
        raise InvalidRequest("model is required")
    query = _query(body.query)
    limits.check_count(len(body.documents or ()))
    documents = to_texts(body.documents)
    top_n = body.top_n if body.top_n is not None or body.top_k is UNSET else body.top_k
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1")
    if body.max_tokens_per_doc is not None and body.max_tokens_per_doc < 1:
        raise InvalidRequest("max_tokens_per_doc must be at least 1")
    if body.min_score is not None and not isfinite(body.min_score):
        raise InvalidRequest("min_score must be a finite number")
    _check_fallbacks(body.model or "", body.fallbacks or ())
    for entry in body.fallbacks or ():
        if not (is_alias(entry) or _is_provider_and_model(entry)):
            raise InvalidRequest(f'invalid fallback "{entry[:200]}": expected provider/model')
    return RerankRequest(
        model=body.model or "",
        query=query,
        documents=documents,
        top_n=top_n,
        max_tokens_per_doc=body.max_tokens_per_doc,
        priority=body.priority,
        return_documents=body.return_documents in (True, *TRUE),
        return_spans=bool(body.return_spans) or wants_spans(body.relevant_spans),
        instruction=body.instruction,
        first_stage_scores=None if documents is body.documents else first_stage_scores(body.documents or ()),
        scores=body.scores,
        min_score=body.min_score,
        extra=_vendor_fields(body),
        call=call,
    )


def _check_fallbacks(model: str, fallbacks: Sequence[str]) -> None:
    """Raises InvalidRequest for too many, or for a name that was there before: asking it again helps nobody."""
    if len(fallbacks) > MAX_FALLBACKS:
        raise InvalidRequest(f"there are {len(fallbacks)} fallbacks; at most {MAX_FALLBACKS} are allowed")
    if len({model, *fallbacks}) <= len(fallbacks):
        raise InvalidRequest("fallbacks must name neither the model nor one another twice")


def to_texts(documents: list[WireDocument] | None) -> list[TextOrParts]:
    """The documents in the form in which they are ranked. Raises InvalidRequest if there are none or one is blank."""
    if not documents:
        raise InvalidRequest("documents are required for rerank")
    if set(map(type, documents)) == _ONLY_STRINGS and none_blank(documents):  # type: ignore[arg-type]
        return documents  # type: ignore[return-value]  # all text, none blank: the usual case, without a copy
    ranked: list[TextOrParts] = []
    for index, document in enumerate(documents):
        text = document if type(document) is str else _to_input(document, index)
        if type(text) is str and is_blank(text):
            raise InvalidRequest(f"document text is required for rerank at index {index}")
        ranked.append(text)
    return ranked


def first_stage_scores(documents: Sequence[WireDocument]) -> list[float | None] | None:
    """The `score` of each document that is no record; None where none has one. Raises InvalidRequest for no number."""
    scores = [_first_stage_score(document, index) for index, document in enumerate(documents)]
    return None if scores.count(None) == len(scores) else scores


def _first_stage_score(document: Any, index: int) -> float | None:
    score = own_fields(document).get("score")
    if score is not None and (type(score) not in (int, float) or not _is_finite(score)):
        raise InvalidRequest(f"invalid request format: Expected a finite number - at `{_place(index)}.score`")
    return None if score is None else float(score)


def document_id(documents: Sequence[WireDocument], index: int) -> str | None:
    """The `id` of a document that is no record; None where it has none, or one that is neither text nor a number."""
    found = own_fields(documents[index]).get("id")
    if type(found) is int and abs(found) <= MAX_WHOLE_ID:
        return str(found)
    return found or None if type(found) is str else None


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # an integer beyond what a float can hold
        return False


def _is_record(document: dict[str, Any]) -> bool:
    """Whether all of it is ranked, its `score` too."""
    has_text = "text" in document or isinstance(document.get("content"), list)
    return not (has_text or _is_picture(document) or holds_record(document))


def holds_record(document: WireDocument) -> bool:
    """Whether a record to rank is its `data`, with an id and the like beside it.

    With more beside it, or with `data` that is no object, the whole is a record; a text that is not blank is ranked.

    Source: https://github.com/maximhq/bifrost/blob/main/core/schemas/rerank.go (2026-11)
    """
    if type(document) is not dict or type(document.get("data")) is not dict or not document.keys() <= _DATA:
        return False
    text = document.get("text")
    return text is None or (type(text) is str and is_blank(text))


def own_fields(document: WireDocument) -> dict[str, Any]:
    """What the caller wrote beside what is ranked, such as an id; nothing of a record, all of which is ranked."""
    return document if type(document) is dict and not _is_record(document) else {}


def _to_input(document: Any, index: int) -> TextOrParts:
    """A document's picture, `text` or content parts, or else its `data` or the whole of it as YAML, keys in order."""
    if not document:
        return ""
    if holds_record(document):
        return _as_yaml(document["data"])
    if not _MEDIA.isdisjoint(document) and _is_picture(document):
        return _with_media(document, index)
    if "text" in document:
        text = _text(document, index)
        return beside(text, document["content"]) if "content" in document and are_parts(document["content"]) else text
    if isinstance(document.get("content"), list):
        return ContentParts(document["content"])
    return _as_yaml(document)


def _as_yaml(record: dict[str, Any]) -> str:
    check_cancelled()
    return to_yaml(record) if record else ""


def _query(query: str | dict[str, Any] | None) -> TextOrParts:
    if isinstance(query, dict):
        if not _MEDIA.isdisjoint(query) and _is_picture(query):
            return _with_media(query, None)
        if not isinstance(query.get("content"), list):
            raise InvalidRequest("invalid request format: Expected `str`, a picture or content parts - at `$.query`")
        return ContentParts(query["content"])
    if query is None or is_blank(query):
        raise InvalidRequest("query is required for rerank")
    return query


def _is_picture(value: dict[str, Any]) -> bool:
    """Whether a picture is there, with text beside it or with nothing else to rank. Otherwise the object is a record,
    one of whose fields may be the address of a picture."""
    return ("text" in value or value.keys() <= _PICTURE) and any(map(value.get, _MEDIA))


def _with_media(value: dict[str, Any], index: int | None) -> ContentParts:
    media = {name: value[name] for name in MEDIA if value.get(name)}
    try:
        return to_parts(_text(value, index), media)
    except ValueError as error:
        raise InvalidRequest(f"invalid request format: {error} - at `{_place(index)}`") from None


def _text(value: dict[str, Any], index: int | None) -> str:
    text = value.get("text")
    if not isinstance(text, str | None):
        raise InvalidRequest(f"invalid request format: Expected `str` - at `{_place(index)}.text`")
    return text or ""


def _place(index: int | None) -> str:
    """Where a document is in the body, or the query for None."""
    return "$.query" if index is None else f"$.documents[{index}]"


def _vendor_fields(body: Body) -> dict[str, Any]:
    declared = _declared_fields(body)
    return {**declared, **span_wishes(body.relevant_spans)} if wants_spans(body.relevant_spans) else declared


def _declared_fields(body: Body) -> dict[str, Any]:
    # There is a field for nearly every adapter, and most requests set none: without a loop in Python.
    values = list(map(getattr, repeat(body), body.vendor_fields))
    if values.count(UNSET) == len(values):
        return {}
    named = zip(body.vendor_fields, values, strict=True)
    return {name: value for name, value in named if value is not UNSET and value is not None}


def _is_provider_and_model(entry: str) -> bool:
    provider, _, model = entry.partition("/")
    return not is_blank(provider) and not is_blank(model)
