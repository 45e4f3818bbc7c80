"""The unified rerank request: decode, validate, and turn into the canonical one.

The order of the checks and their messages are a contract (https://docs.getbifrost.ai/quickstart/gateway/reranking):
the first failure wins, each is HTTP 400.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import UNSET, Struct, UnsetType

from gateway.api.dialect import WireDocument
from providers.errors import InvalidRequest
from providers.types import Call, ContentParts, RerankRequest, TextOrParts

Truth = Literal["true", "True", "TRUE", "false", "False", "FALSE"]
TRUE = ("true", "True", "TRUE")


_TEXT_ONLY = {str}


class Body(Struct, kw_only=True):
    """The request body. null means absent; fields that nobody knows are ignored; `top_k` is accepted for `top_n`.

    `return_documents` may come as "true" or "false", as RAGFlow sends it. `texts` in place of `documents` is a
    request to text-embeddings-inference, and read as that.
    """

    model: str | None = None
    query: str | dict[str, Any] | None = None
    documents: list[WireDocument] | None = None
    texts: list[str] | None = None
    top_n: int | None = None
    top_k: int | UnsetType | None = UNSET
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: Any = UNSET
    priority: int | None = None
    return_documents: bool | Truth | None = None
    fallbacks: list[str] | None = None


_KNOWN = len(Body.__struct_fields__)


def decoder(extras: Iterable[str]) -> Callable[[bytes], Body]:
    """A decoder for bodies that also keeps the extra fields which some configured adapter declares.

    Raises (when called): InvalidRequest for anything that is not JSON of the right types.
    """
    names = sorted(set(extras) - set(Body.__struct_fields__))
    fields = [(name, Any, UNSET) for name in names]
    extended: type[Body] = msgspec.defstruct("Body", fields, bases=(Body,), kw_only=True)  # type: ignore[assignment]
    decode = msgspec.json.Decoder(extended).decode

    def checked(body: bytes) -> Body:
        try:
            return decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"invalid request format: {error}") from None
        except RecursionError:
            raise InvalidRequest("invalid request format: the JSON is nested too deeply") from None

    return checked


def canonical(body: Body, call: Call, is_alias: Callable[[str], bool]) -> RerankRequest:
    """The body as a canonical request.

    Args:
        body: as decoded.
        call: what all attempts will share.
        is_alias: whether a fallback without a slash is a configured name.

    Raises:
        InvalidRequest: with the contract's message for the first thing that is wrong.
    """
    if _blank(body.model):
        raise InvalidRequest("model is required")
    query = _query(body.query)
    documents = texts(body.documents)
    top_n = body.top_n if body.top_n is not None or body.top_k is UNSET else body.top_k
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1")
    for entry in body.fallbacks or ():
        if not (is_alias(entry) or _has_form(entry)):
            raise InvalidRequest(f'invalid fallback "{entry[:200]}": expected provider/model')
    return RerankRequest(
        model=body.model or "",
        query=query,
        documents=documents,
        top_n=top_n,
        max_tokens_per_doc=body.max_tokens_per_doc,
        priority=body.priority,
        return_documents=body.return_documents in (True, *TRUE),
        extra=_extra(body),
        call=call,
    )


def texts(documents: list[WireDocument] | None) -> list[TextOrParts]:
    """Each document as it will be ranked. Raises InvalidRequest if there are none or one is blank."""
    if not documents:
        raise InvalidRequest("documents are required for rerank")
    if set(map(type, documents)) == _TEXT_ONLY and all(map(str.strip, documents)):  # type: ignore[arg-type]
        return documents  # type: ignore[return-value]  # all text, none blank: the usual case, without a copy
    ranked: list[TextOrParts] = []
    for index, document in enumerate(documents):
        text = document if type(document) is str else _ranked_form(document, index)
        if type(text) is str and (not text or text.isspace()):
            raise InvalidRequest(f"document text is required for rerank at index {index}")
        ranked.append(text)
    return ranked


def _ranked_form(document: Any, index: int) -> TextOrParts:
    """The text of an object, its content parts, or all of it as YAML with the keys in the caller's order."""
    if not document:
        return ""
    if "text" in document:
        text = document["text"]
        if not isinstance(text, str | None):
            raise InvalidRequest(f"invalid request format: Expected `str` - at `$.documents[{index}].text`")
        return text or ""
    if isinstance(document.get("content"), list):
        return ContentParts(document["content"])
    return _yaml(document)


def _yaml(document: Any) -> str:
    """libyaml is eight times as fast, but escapes what lies beyond the Basic Multilingual Plane, such as emoji."""
    text: str = yaml.dump(document, Dumper=_FastDumper, **_YAML)
    return yaml.dump(document, Dumper=yaml.SafeDumper, **_YAML) if "\\U" in text else text


def _query(query: str | dict[str, Any] | None) -> TextOrParts:
    if isinstance(query, dict):
        if not isinstance(query.get("content"), list):
            raise InvalidRequest("invalid request format: Expected `str` or content parts - at `$.query`")
        return ContentParts(query["content"])
    if query is None or _blank(query):
        raise InvalidRequest("query is required for rerank")
    return query


def _extra(body: Body) -> dict[str, Any]:
    names = body.__struct_fields__[_KNOWN:]
    values = [getattr(body, name) for name in names]
    if values.count(UNSET) == len(values):
        return {}
    return {name: value for name, value in zip(names, values, strict=True) if value is not UNSET and value is not None}


def _has_form(entry: str) -> bool:
    provider, _, model = entry.partition("/")
    return not _blank(provider) and not _blank(model)


def _blank(text: str | None) -> bool:
    return not text or text.isspace()


_FastDumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
_YAML: Final[dict[str, Any]] = {"sort_keys": False, "allow_unicode": True, "width": 1_000_000}
