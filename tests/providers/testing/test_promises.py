"""Each promise is seen to catch the adapter that breaks it: Voyage's, spoiled in one way per case."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from providers.adapters import voyage
from providers.capabilities import Capabilities, Limits
from providers.spec import HttpProvider
from providers.testing import PROMISES, Subject
from providers.types import Ranked, Ranking, RerankRequest, Usage
from providers.wire.paths import quote_segment

WIRE = Path(__file__).parents[2] / "wire" / "voyage"
HONEST = Subject(
    voyage.PROVIDER,
    success=(WIRE / "success.json").read_bytes(),
    minimal=(WIRE / "minimal.json").read_bytes(),
    samples={"truncation": False},
)


def changed(**changes: Any) -> Subject:
    """The honest subject with another adapter: these attributes of it are changed."""
    return msgspec.structs.replace(HONEST, provider=msgspec.structs.replace(voyage.PROVIDER, **changes))


def encoded(change: Callable[[RerankRequest, dict[str, Any]], dict[str, Any]]) -> Subject:
    """Its body is what `change` makes of the honest one."""
    return changed(encode=lambda request: change(request, voyage.encode(request)))


def decoded(change: Callable[[Ranking], Ranking]) -> Subject:
    """Its ranking is what `change` makes of the honest one."""
    return changed(decode=lambda body, request: change(voyage.decode(body, request)))


def marking(request: RerankRequest) -> dict[str, Any]:
    body = voyage.encode(request)
    request.extra["seen"] = True
    return body


def voyage_bytes(request: RerankRequest) -> bytes:
    return msgspec.json.encode(voyage.encode(request))


NUMBERS = itertools.count()


def trusting(body: bytes, request: RerankRequest) -> Ranking:
    """Reads broken answers as empty ones."""
    try:
        return voyage.decode(body, request)
    except ValueError:
        return Ranking(results=[])


def fragile(body: bytes) -> str:
    """Takes every JSON body for an object."""
    try:
        return str(msgspec.json.decode(body).get("message", ""))
    except msgspec.DecodeError:
        return ""


_SHARED = voyage.encode(HONEST.request())
ONE = Ranked(0, 1)

BROKEN: dict[str, tuple[str, Subject, str]] = {
    "a field without a sample": (
        "has a sample of every declared field",
        changed(fields=frozenset({"top_n", "truncation", "colour"})),
        "no sample value of colour",
    ),
    "a picture that is dropped": (
        "sends the pictures that its models read",
        changed(
            capabilities={"*": Capabilities(multimodal=True)},
            encode=lambda request: {"documents": [each for each in request.documents if isinstance(each, str)]},
        ),
        "* is declared multimodal, and gets no picture",
    ),
    "no source": (
        "says where it is from",
        changed(source="", encode=lambda request: voyage.encode(request)),
        "Source: ",
    ),
    "the name of another": ("is found by its name", changed(name="cohere"), '"cohere"'),
    "a path with a blank": ("says where to send", changed(path="/v1/re rank"), "'/v1/re rank'"),
    "a path with a step": ("says where to send", changed(path="/v1/../rerank"), "'/v1/../rerank'"),
    "a model as it is in the path": (
        "keeps the name of a model within its path",
        changed(path=lambda model: f"/v1/models/{model}/rerank"),
        "the model '' makes the path '/v1/models//rerank'",
    ),
    "a model with steps in the path": (
        "keeps the name of a model within its path",
        changed(path=lambda model: f"/v1/models/{quote(model) or '-'}/rerank"),
        "the model '.' makes",
    ),
    "nothing for all models": (
        "declares what is known of its models",
        changed(capabilities={"rerank-2": Capabilities()}),
        'no entry "*"',
    ),
    "a limit that lets nothing through": (
        "declares what is known of its models",
        changed(capabilities={"*": Capabilities(limits=Limits(documents=0))}),
        "documents of * is 0",
    ),
    "a query beyond the pair": (
        "declares what is known of its models",
        changed(
            capabilities={
                "*": Capabilities(limits=Limits(tokens_per_pair=8)),
                "m": Capabilities(limits=Limits(tokens_per_query=9)),
            }
        ),
        "tokens_per_query of m is above",
    ),
    "plain HTTP": ("says where to send", changed(base_url="http://api.example"), "'http://api.example'"),
    "an undeclared field": (
        "changes the body by declared fields alone",
        encoded(lambda request, body: body | ({"priority": request.priority} if request.priority else {})),
        "priority changes the body",
    ),
    "an unknown field": (
        "changes the body by declared fields alone",
        encoded(lambda request, body: body | request.extra),
        "return_embeddings changes the body",
    ),
    "an empty declaration": (
        "changes the body by declared fields alone",
        changed(fields=voyage.PROVIDER.fields | {"priority"}),
        "priority is declared in `fields` and changes nothing",
    ),
    "an instruction that is not told of": (
        "changes the body by declared fields alone",
        changed(fields=voyage.PROVIDER.fields - {"instruction"}),
        "instruction changes the body and is not declared",
    ),
    "an empty instruction": (
        "treats a null as absent",
        encoded(lambda request, body: body | {"given": request.instruction is not None}),
        "an empty instruction",
    ),
    "null is not absent": (
        "treats a null as absent",
        encoded(lambda request, body: body | {"given": "truncation" in request.extra}),
        "truncation: null",
    ),
    "a null": ("never sends a null", encoded(lambda request, body: body | {"inner": [{"x": None}]}), "sent as x"),
    "a top_n beyond": (
        "never asks for more than there is",
        encoded(lambda request, body: body | {"top_k": request.top_n}),
        "top_n above",
    ),
    "a counter": (
        "encodes purely and repeatably",
        encoded(lambda request, body: body | {"nonce": next(NUMBERS)}),
        "gives two bodies",
    ),
    "one body for all": ("encodes purely and repeatably", changed(encode=lambda request: _SHARED), "share one body"),
    "the request changed": ("encodes purely and repeatably", changed(encode=marking), "changes the request"),
    "a query in ASCII": (
        "sends every text in its order",
        encoded(lambda request, body: body | {"query": ascii(request.query)}),
        "query",
    ),
    "documents reversed": (
        "sends every text in its order",
        encoded(lambda request, body: body | {"documents": request.documents[::-1]}),
        "documents",
    ),
    "a document dropped": (
        "sends every text in its order",
        encoded(lambda request, body: body | {"documents": request.documents[1:]}),
        "documents",
    ),
    "a score of its own": (
        "reads a minimal answer",
        decoded(
            lambda ranking: Ranking(results=[Ranked(row.index, 1 - row.relevance_score / 4) for row in ranking.results])
        ),
        "not as document 0 with 0.5",
    ),
    "usage made up": (
        "reads a minimal answer",
        decoded(lambda ranking: msgspec.structs.replace(ranking, usage=Usage(total_tokens=1))),
        "usage is made up",
    ),
    "results lost": ("reads a full answer", decoded(lambda ranking: Ranking(results=[])), "without results"),
    "a score that is an int": ("reads a full answer", decoded(lambda ranking: Ranking(results=[ONE])), "finite float"),
    "usage lost": (
        "reads a full answer",
        decoded(lambda ranking: Ranking(results=ranking.results)),
        "usage of the full answer",
    ),
    "a random answer": (
        "decodes repeatably",
        decoded(lambda ranking: msgspec.structs.replace(ranking, id=str(next(NUMBERS)))),
        "two rankings",
    ),
    "a broken answer taken": (
        "refuses a minimal answer with any part spoiled",
        changed(decode=trusting),
        "for an answer",
    ),
    "rubbish taken": ("refuses rubbish", changed(decode=trusting), "takes b'' for an answer"),
    "a page as a sentence": (
        "finds no sentence in rubbish",
        changed(error_message=lambda body: body.decode(errors="replace")),
        "in a web page",
    ),
    "no ranking": ("survives any body", changed(decode=lambda body, request: {}), "not a Ranking"),
    "bytes for a sentence": ("survives any body", changed(error_message=lambda body: body), "gives no text"),
}


HONEST_ONES = {
    "as it is": HONEST,
    "with the model in its path": changed(path=lambda model: f"/v1/models/{quote_segment(model)}/rerank"),
    "with bytes for a body": changed(encode=voyage_bytes),
}


@pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
@pytest.mark.parametrize("subject", HONEST_ONES.values(), ids=HONEST_ONES)
def test_an_honest_one_keeps_them_all(subject: Subject, promise: Callable[[Subject], None]) -> None:
    if promise in (PROMISES["is found by its name"], PROMISES["says where it is from"]):
        subject = HONEST  # Both look for the module that an adapter is found in.
    promise(subject)


@pytest.mark.parametrize(("promise", "subject", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_said(promise: str, subject: Subject, reason: str) -> None:
    with pytest.raises(AssertionError) as caught:
        PROMISES[promise](subject)
    assert reason in str(caught.value)


def test_an_exception_of_the_adapter_is_seen_as_it_is() -> None:
    with pytest.raises(AttributeError):
        PROMISES["survives any body"](changed(error_message=fragile))


def test_every_promise_is_broken_by_a_case() -> None:
    assert {promise for promise, _, _ in BROKEN.values()} == PROMISES.keys()


def test_importing_it_needs_neither_pytest_nor_what_lies_above() -> None:
    probe = "import sys, providers.testing; print(sorted({'pytest', 'gateway', 'httpx', 'aiohttp'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"
    assert isinstance(HONEST.provider, HttpProvider)
