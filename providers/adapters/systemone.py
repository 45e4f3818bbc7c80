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
from providers.types import Ranked, Ranking, RerankRequest, TextOrParts
from providers.wire.decisions import STATEMENT, Counts, usage_of
from providers.wire.errors import error_message
from providers.wire.fields import without_nulls
from providers.wire.results import decode_response


class _Noul(Struct):
    noul: float


class _Answer(Struct):
    answers: Annotated[dict[str, _Noul], Meta(min_length=1)]
    usage: Counts | None = None


_ANSWER = Decoder(_Answer)


def encode(request: RerankRequest) -> JSON:
    return {
        "model": request.model,
        "state": without_nulls(query=request.query, instruction=request.instruction or None),
        "questions": {str(index): _question(document) for index, document in enumerate(request.documents)},
    }


def _question(document: TextOrParts) -> JSON:
    return {"type": "noul", "instructions": {"statement": STATEMENT, "document": document}}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    results = [Ranked(int(name), each.noul) for name, each in answer.answers.items()]
    return Ranking(results=results, usage=usage_of(answer.usage))


PROVIDER = HttpProvider(
    name="systemone",
    base_url="https://api.typesafe.ai",
    path="/v1/systemone",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"instruction"}),
    capabilities={
        "*": Capabilities(score_space="probability", instruction=True),
        "jev-*": Capabilities(limits=Limits(documents=255)),
    },
    api_key_env="TYPESAFE_API_KEY",
)
