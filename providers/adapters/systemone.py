"""Decision models as rerankers, by TypeSafe's API "System One". Beta: how well they rank depends on the question.

Source: the specification of https://api.typesafe.ai in the SDK typesafe-sdk 0.7.5 (2026-11)

One call asks one yes-or-no question per document, named by the document's index; a score is the probability of a yes.
Others serve this API too (Fireworks, Databricks, LiteLLM): set `base_url` for those.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.spec import JSON, HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, TextOrParts, Usage
from providers.wire.errors import error_message
from providers.wire.fields import vendor_fields
from providers.wire.results import decode_response, known_usage

_EXTRAS = ("instruction",)
_STATEMENT = "This document is relevant to the query: it helps to answer it."


class _Noul(Struct):
    noul: float


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Answer(Struct):
    answers: Annotated[dict[str, _Noul], Meta(min_length=1)]
    usage: _Usage | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return {
        "model": request.model,
        "state": {"query": request.query, **vendor_fields(request, _EXTRAS)},
        "questions": {str(index): _question(document) for index, document in enumerate(request.documents)},
    }


def _question(document: TextOrParts) -> JSON:
    return {"type": "noul", "instructions": {"statement": _STATEMENT, "document": document}}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    results = [Ranked(int(name), each.noul) for name, each in answer.answers.items()]
    return Ranking(results=results, usage=known_usage(_counted(answer.usage or _Usage())))


def _counted(usage: _Usage) -> Usage:
    known = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
    total = sum(known) if known else None
    return Usage(prompt_tokens=usage.input_tokens, completion_tokens=usage.output_tokens, total_tokens=total)


PROVIDER = HttpProvider(
    name="systemone",
    base_url="https://api.typesafe.ai",
    path="/v1/systemone",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset(_EXTRAS),
    capabilities={
        "*": Capabilities(score_space="probability"),
        "jev-*": Capabilities(limits=Limits(documents=255)),
    },
    api_key_env="TYPESAFE_API_KEY",
)
