"""Decision models as rerankers, by OpenAI's Decisions API. Beta, as the API is: how well they rank depends on the
question.

One call asks one predicate per document; a score is the probability that it is true, and answers are in the order of
the questions. A model may decline a question: its document is left out.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from providers.capabilities import Capabilities, Limits
from providers.errors import BadAnswer
from providers.spec import JSON, HttpProvider
from providers.types import Ranked, Ranking, RerankRequest
from providers.wire.decisions import STATEMENT, Counts, usage_of
from providers.wire.errors import error_message
from providers.wire.results import decode_response, expect_all


class _Predicate(Struct, tag="predicate"):
    probability: float


class _Refusal(Struct, tag="refusal"): ...


class _Answer(Struct):
    answers: Annotated[list[_Predicate | _Refusal], Meta(min_length=1)]
    usage: Counts | None = None


_ANSWER = Decoder(_Answer)


def _texts(*texts: object) -> list[JSON]:
    return [{"type": "input_text", "text": text} for text in texts]


def encode(request: RerankRequest) -> JSON:
    content = _texts(request.query, *([request.instruction] if request.instruction else []))
    questions = [{"type": "predicate", "instructions": _texts(STATEMENT, document)} for document in request.documents]
    return {"model": request.model, "input": [{"role": "user", "content": content}], "questions": questions}


def decode(body: bytes, request: RerankRequest) -> Ranking:
    answer = decode_response(body, _ANSWER)
    expect_all(len(answer.answers), request)
    given = [(index, each) for index, each in enumerate(answer.answers) if isinstance(each, _Predicate)]
    if not given:
        raise BadAnswer("the model declined to judge any of the documents")
    return Ranking(results=[Ranked(index, each.probability) for index, each in given], usage=usage_of(answer.usage))


PROVIDER = HttpProvider(
    name="openai-decisions",
    source="https://developers.openai.com/api/reference/resources/decisions (2026-11)",
    base_url="https://api.openai.com",
    path="/v1/decisions",
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"instruction"}),
    capabilities={"*": Capabilities(limits=Limits(documents=400), score_space="probability", instruction=True)},
)
