"""The checks that every dialect makes, in the vendor's own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.api.dialect import IncomingRequest
from providers.errors import InvalidRequest
from providers.types import RerankRequest, TextOrParts

Body = TypeVar("Body")

_AT = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


class ErrorMessages(Struct, frozen=True, kw_only=True):
    """A vendor's sentences.

    Attributes:
        json: for a body that is not JSON; `{}` takes the reason.
        types: for a field of the wrong type; `{}` takes the reason, with its place.
        model, query, documents: for one that is absent or empty.
        document: for a blank one; `{}` takes its index.
        limit: for a number of results below the least.
    """

    json: str
    types: str
    model: str
    query: str
    documents: str
    document: str
    limit: str


class Invalid(InvalidRequest):
    """A bad request, with what vendors' error bodies tell about it.

    Attributes:
        field: which field, `documents.0` for one item; "" for the body as a whole.
        kind: `json`, `missing`, `type` or `value`.
    """

    def __init__(self, message: str, field: str = "", kind: str = "value") -> None:
        super().__init__(message)
        self.field = field
        self.kind = kind


def build_decoder(body: type[Body], wording: ErrorMessages) -> Callable[[bytes], Body]:
    """A decoder for that body. Numbers and booleans may come as strings, as some clients send them.

    Raises (when called): Invalid.
    """
    decode = msgspec.json.Decoder(body, strict=False).decode

    def checked(raw: bytes) -> Body:
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            raise _wrong_type(str(error), wording) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(wording.json.format(error), kind="json") from None
        except RecursionError:
            raise Invalid(wording.json.format("it is nested too deeply"), kind="json") from None

    return checked


def validate(
    incoming: IncomingRequest,
    wording: ErrorMessages,
    *,
    model: str | None,
    query: TextOrParts | None,
    documents: list[TextOrParts] | None,
    limit: int | None = None,
    documents_field: str = "documents",
    limit_field: str = "top_n",
    **optional: Any,
) -> RerankRequest:
    """The canonical request, once all that every vendor demands is there. Raises Invalid for the first that is not."""
    if _blank(model):
        raise Invalid(wording.model, "model", "missing")
    if query is None or _blank(query):
        raise Invalid(wording.query, "query", "missing" if query is None else "value")
    if not documents:
        raise Invalid(wording.documents, documents_field, "missing" if documents is None else "value")
    for index, document in enumerate(documents):
        if _blank(document):
            raise Invalid(wording.document.format(index), f"{documents_field}.{index}")
    if limit is not None and limit < 1:
        raise Invalid(wording.limit, limit_field)
    return RerankRequest(
        model=model or "", query=query, documents=documents, top_n=limit, call=incoming.call, **optional
    )


def _blank(text: TextOrParts | None) -> bool:
    return text is None or (isinstance(text, str) and (not text or text.isspace()))


def _wrong_type(reason: str, wording: ErrorMessages) -> Invalid:
    place = _AT.search(reason)
    field = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", place[1]) if place else ""
    missing = _MISSING.search(reason)
    if missing:
        field = f"{field}.{missing[1]}".strip(".")
    return Invalid(wording.types.format(reason), field, "missing" if missing else "type")
