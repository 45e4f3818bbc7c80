"""The checks that all dialects share. Each dialect brings the vendor's own messages for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from gateway.api.dialect import IncomingRequest
from gateway.api.dialects import unknown_fields
from gateway.api.dialects.blank import is_blank
from gateway.api.dialects.unreadable import describe, words_of, wrong_value
from providers.errors import InvalidRequest
from providers.types import RerankRequest, TextOrParts

Body = TypeVar("Body", bound=Struct)
Fault = Literal["json", "missing", "type", "value"]

_LOCATION = re.compile(r" - at `\$\.?(.*)`$")
_MISSING_FIELD = re.compile(r"missing required field `([^`]*)`")


class ErrorMessages(Struct, frozen=True, kw_only=True):
    """What a vendor says about each fault of a request body.

    Attributes:
        json: the body is not JSON; `{}` is replaced by the reason.
        types: a field has the wrong type; `{}` is replaced by the reason, with the field's location.
        model, query, documents: that field is absent or empty.
        document: one document is blank; `{}` is replaced by its index.
        limit: the number of results to return is below 1.
    """

    json: str
    types: str
    model: str
    query: str
    documents: str
    document: str
    limit: str


class InvalidBody(InvalidRequest):
    """A bad request body, with the details that vendors' error bodies give.

    Attributes:
        field: the field at fault, `documents.0` for one item; "" for the body as a whole.
        fault: `json` (not JSON), `missing`, `type` or `value`.
    """

    def __init__(self, message: str, field: str = "", fault: Fault = "value") -> None:
        super().__init__(message)
        self.field = field
        self.fault = fault


def build_decoder(body_type: type[Body], messages: ErrorMessages) -> Callable[[IncomingRequest], Body]:
    """Make a decoder of bodies of that type, as `unknown_fields.decoder`. Raises (when called): InvalidBody."""
    decode_json, words = unknown_fields.decoder(body_type), words_of(body_type)

    def decode(incoming: IncomingRequest) -> Body:
        try:
            return decode_json(incoming)
        except msgspec.ValidationError as error:
            raise _wrong_type(wrong_value(str(error), words), messages) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidBody(messages.json.format(describe(incoming, error, words)), fault="json") from None
        except RecursionError:
            raise InvalidBody(messages.json.format("it is nested too deeply"), fault="json") from None

    return decode


def validate(
    incoming: IncomingRequest,
    messages: ErrorMessages,
    *,
    model: str | None,
    query: TextOrParts | None,
    documents: list[TextOrParts] | None,
    limit: int | None = None,
    max_tokens_per_doc: int | None = None,
    documents_field: str = "documents",
    limit_field: str = "top_n",
    tokens_field: str = "max_tokens_per_doc",
    **optional: Any,
) -> RerankRequest:
    """Check what every vendor requires, in this order: model, query, documents, limit.

    Args:
        limit: results to return; None for all.
        max_tokens_per_doc: cut each document after so many.
        documents_field, limit_field, tokens_field: the vendor's names of those fields, for errors.
        optional: further fields of RerankRequest.

    Raises:
        InvalidBody: for the first field that is absent, empty or out of range.
        TooLarge: more documents than the limit.
    """
    if is_blank(model):
        raise InvalidBody(messages.model, "model", "missing")
    if query is None or _is_blank(query):
        raise InvalidBody(messages.query, "query", "missing" if query is None else "value")
    if not documents:
        raise InvalidBody(messages.documents, documents_field, "missing" if documents is None else "value")
    incoming.limits.check_count(len(documents))
    for index, document in enumerate(documents):
        if _is_blank(document):
            raise InvalidBody(messages.document.format(index), f"{documents_field}.{index}")
    if limit is not None and limit < 1:
        raise InvalidBody(messages.limit, limit_field)
    if max_tokens_per_doc is not None and max_tokens_per_doc < 1:
        raise InvalidBody(f"{tokens_field} must be at least 1", tokens_field)
    return RerankRequest(
        model=model or "",
        query=query,
        documents=documents,
        top_n=limit,
        max_tokens_per_doc=max_tokens_per_doc,
        call=incoming.call,
        **optional,
    )


def _is_blank(text: TextOrParts | None) -> bool:
    return text is None or (isinstance(text, str) and is_blank(text))


def _wrong_type(reason: str, messages: ErrorMessages) -> InvalidBody:
    """msgspec gives the location in the text of its error only: `Expected ... - at `$.documents[0]``."""
    location = _LOCATION.search(reason)
    field = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", location[1]) if location else ""
    missing = _MISSING_FIELD.search(reason)
    if missing:
        field = f"{field}.{missing[1]}".strip(".")
    return InvalidBody(messages.types.format(reason), field, "missing" if missing else "type")
