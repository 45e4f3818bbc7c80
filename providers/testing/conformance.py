"""The promises of `HttpProvider`, each a function that raises AssertionError with the reason where it is not kept."""

from __future__ import annotations

import importlib
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import asdict

from providers import registry
from providers.capabilities import resolve
from providers.errors import BadAnswer, InvalidRequest
from providers.spec import HttpProvider
from providers.types import ContentParts, Ranking, RerankRequest

CANONICAL = {
    "top_n": 1,
    "max_tokens_per_doc": 64,
    "priority": 7,
    "return_documents": True,
    "return_spans": True,
    "instruction": "prefer official manuals",
}
NEVER_SENT = {"return_embeddings": True, "relevant_spans": {"mode": "enabled"}, "stream": True, "made_up": 1}
"""What a caller may send and no adapter passes on: a ranking cannot carry it, or nobody knows it."""
RANDOM_BODIES = 300
HOSTILE_NAMES = (
    *("", ".", "..", "../x", "a/../b", "/a", "a//b"),
    *("a b", "a?b=c", "a#b", "a\\b", "a\r\nb", "%2e%2e", "ä", "\ud800"),
)
"""Names of models that callers may write, and that must not lead to another endpoint where a path holds them."""


class Subject(msgspec.Struct, frozen=True):
    """An adapter under test, and what only its author can know.

    Attributes:
        provider: the adapter.
        success: a full answer, as the vendor documents it, usage included.
        minimal: the least that is still an answer: document 0 with the score 0.5, and nothing that may be missing.
        model: where what is sent depends on the model, one that takes every declared field.
        samples: a value for each of the vendor's own fields that the adapter declares; other fields may be among them,
            and must then not be sent.
        options: of an adapter that has options, those to test it with: at least the ones that it requires.
        counts: whether the vendor says in its answers what it counted.
    """

    provider: HttpProvider
    success: bytes
    minimal: bytes
    model: str = "a-model"
    samples: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    counts: bool = True

    @property
    def configured(self) -> HttpProvider:
        """The adapter with its options in force."""
        declared = self.provider.options
        return self.provider if declared is None else declared.apply(msgspec.convert(self.options, declared.shape))

    @property
    def optional(self) -> dict[str, Any]:
        """Every optional field with a value."""
        return {**CANONICAL, **self.samples, **NEVER_SENT}

    def request(self, **fields: Any) -> RerankRequest:
        """A request for three documents; fields outside the contract go to `extra`."""
        known = {name: value for name, value in fields.items() if name in RerankRequest.__struct_fields__}
        extra = {name: value for name, value in fields.items() if name not in known}
        texts = {"query": "how long does a tube last", "documents": ["tubes", "helmets", "sealant"]}
        return RerankRequest(**{"model": self.model, **texts, "extra": extra, **known})

    def encode(self, **fields: Any) -> Any:
        return self.configured.encode(self.request(**fields))

    def sent(self, **fields: Any) -> bytes:
        """The body as it is sent."""
        body = self.encode(**fields)
        return body if isinstance(body, bytes) else msgspec.json.encode(body)

    def decode(self, body: bytes) -> Ranking:
        return self.configured.decode(body, self.request())


Promise = Callable[[Subject], None]
PROMISES: dict[str, Promise] = {}
"""Every promise by its name, as a test report shows it."""


def conformance(*subjects: Subject) -> Callable[..., None]:
    """A pytest test that holds every subject to every promise: bind it to a name that starts with `test_`."""
    import pytest

    @pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
    @pytest.mark.parametrize("subject", subjects, ids=lambda subject: subject.provider.name)
    def test_conformance(subject: Subject, promise: Promise) -> None:
        promise(subject)

    return test_conformance


def _promise(check: Promise) -> Promise:
    PROMISES[check.__name__.replace("_", " ")] = check
    return check


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


@_promise
def has_a_sample_of_every_declared_field(subject: Subject) -> None:
    missing = sorted(subject.provider.fields - CANONICAL.keys() - subject.samples.keys())
    _require(not missing, f"no sample value of {', '.join(missing)}: add it to the subject's samples")


@_promise
def says_where_it_is_from(subject: Subject) -> None:
    encode, source = subject.provider.encode, subject.provider.source
    written = encode.func if isinstance(encode, partial) else encode
    doc = importlib.import_module(written.__module__).__doc__ or ""
    told = f"Source: {source}" if source else doc
    found = re.search(r"^Source: .*(https://|docs/).*\(20\d\d-\d\d\)$", told, re.M | re.S)
    _require(found is not None, 'its module\'s docstring has no line "Source: https://… (YYYY-MM)"')


@_promise
def is_found_by_its_name(subject: Subject) -> None:
    found = registry.find(subject.provider.name)
    _require(found == subject.provider, f'another adapter is found under the name "{subject.provider.name}"')


@_promise
def says_where_to_send(subject: Subject) -> None:
    path, base_url = subject.configured.path, subject.configured.base_url
    below, mark, query = path.partition("?") if isinstance(path, str) else (path(subject.model), "", "")
    _require(_is_path(below), f"the path {below!r} is not /one or /more/segments")
    _require(not mark or re.fullmatch(r"[\w.~=&-]+", query, re.A) is not None, f"{query!r} is not a query")
    valid = base_url is None or re.fullmatch(r"https://[a-z0-9.-]+", base_url) is not None
    _require(valid, f"the base URL {base_url!r} is not https://host")


@_promise
def keeps_the_name_of_a_model_within_its_path(subject: Subject) -> None:
    path = subject.configured.path
    if isinstance(path, str):
        return
    for name in HOSTILE_NAMES:
        with suppress(InvalidRequest):
            below = path(name)
            _require(_is_path(below), f"the model {name!r} makes the path {below!r}: use wire.paths.quote_segment")


def _is_path(below: str) -> bool:
    """Segments of what RFC 3986 section 3.3 allows, none of them a step (`.` and `..`)."""
    found = re.fullmatch(r"(/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})+)+", below)
    return found is not None and not {".", ".."} & set(below.split("/"))


@_promise
def declares_what_is_known_of_its_models(subject: Subject) -> None:
    declared = subject.provider.capabilities
    _require("*" in declared, 'capabilities has no entry "*", for all models: without facts it is Capabilities()')
    for pattern in declared:
        limits = {name: most for name, most in asdict(resolve(pattern, declared).limits).items() if most is not None}
        for name, most in limits.items():
            _require(most > 0, f"{name} of {pattern} is {most}")
        whole = limits.get("tokens_per_call", limits.get("tokens_per_pair"))
        for name in ("tokens_per_query", "tokens_per_document", "tokens_per_pair"):
            part = limits.get(name)
            _require(not (part and whole) or part <= whole, f"{name} of {pattern} is above the limit of what holds it")


@_promise
def changes_the_body_by_declared_fields_alone(subject: Subject) -> None:
    plain = subject.encode()
    for name, value in subject.optional.items():
        changed = subject.encode(**{name: value}) != plain
        declared = name in subject.provider.fields
        _require(declared or not changed, f"{name} changes the body and is not declared in `fields`")
        _require(changed or not declared, f"{name} is declared in `fields` and changes nothing")


@_promise
def treats_a_null_as_absent(subject: Subject) -> None:
    for name in subject.optional.keys() - {"return_documents", "return_spans"}:
        _require(subject.encode(**{name: None}) == subject.encode(), f"{name}: null is not the same as no {name}")
    _require(subject.encode(instruction="") == subject.encode(), "an empty instruction is not the same as none")


@_promise
def never_sends_a_null(subject: Subject) -> None:
    for fields in ({}, subject.optional):
        sent = json.loads(subject.sent(**fields))
        _require(not (names := list(_nulls(sent))), f"null is sent as {', '.join(names)}")


def _nulls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (name for name, inner in value.items() if inner is None)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nulls(inner)


@_promise
def never_asks_for_more_than_there_is(subject: Subject) -> None:
    most = 3 if "top_n" in subject.provider.fields else None
    _require(subject.encode(top_n=100) == subject.encode(top_n=most), "a top_n above the number of documents is sent")


@_promise
def encodes_purely_and_repeatably(subject: Subject) -> None:
    request = subject.request(**subject.optional)
    before = _copy(request)
    first, again = subject.configured.encode(request), subject.configured.encode(request)
    _require(first == again, "encoding the same request twice gives two bodies")
    shared = first is again and not isinstance(first, bytes)
    _require(not shared, "two encodings share one body: a change to one would be a change to the other")
    _require(_copy(request) == before, "encoding changes the request")


def _copy(request: RerankRequest) -> bytes:
    """What the caller wrote, to be compared."""
    return msgspec.json.encode({name: value for name, value in asdict(request).items() if name != "call"})


@_promise
def sends_every_text_in_its_order(subject: Subject) -> None:
    sent = subject.sent(query='a "quoted" ☃ query').decode()
    _require(json.dumps('a "quoted" ☃ query', ensure_ascii=False) in sent, "the query is not sent as it is")
    places = [sent.find(json.dumps(text)) for text in ("tubes", "helmets", "sealant")]
    _require(-1 not in places and places == sorted(places), "the documents are not sent as they are, in their order")


@_promise
def reads_a_minimal_answer(subject: Subject) -> None:
    ranking = subject.decode(subject.minimal)
    rows = [(row.index, row.relevance_score) for row in ranking.results]
    _require(rows[:1] == [(0, 0.5)], f"the minimal answer is read as {rows}, not as document 0 with 0.5 first")
    _require(ranking.usage is None, "usage is made up where the answer gives none")


@_promise
def reads_a_full_answer(subject: Subject) -> None:
    ranking = subject.decode(subject.success)
    _require(bool(ranking.results), "the full answer is read as one without results")
    for row in ranking.results:
        typed = type(row.index) is int and type(row.relevance_score) is float
        _require(typed and math.isfinite(row.relevance_score), f"{row} is not an int and a finite float")
    _require((ranking.usage is not None) is subject.counts, "the usage of the full answer is not read, or is made up")


@_promise
def decodes_repeatably(subject: Subject) -> None:
    same = subject.decode(subject.success) == subject.decode(subject.success)
    _require(same, "decoding the same answer twice gives two rankings")


@_promise
def refuses_a_minimal_answer_with_any_part_spoiled(subject: Subject) -> None:
    for answer in _spoiled(json.loads(subject.minimal)):
        _require_refused(subject, json.dumps(answer).encode())


def _spoiled(value: Any) -> Iterator[Any]:
    """The value with one of its parts missing, or of another kind, for each of its parts."""
    yield from (None, "rubbish", {"rubbish": 1})
    if isinstance(value, dict):
        for name in value:
            yield {other: inner for other, inner in value.items() if other != name}
            yield from ({**value, name: worse} for worse in _spoiled(value[name]))
    if isinstance(value, list):
        yield from ([worse] for worse in _spoiled(value[0]))


@_promise
def sends_the_pictures_that_its_models_read(subject: Subject) -> None:
    declared = subject.provider.capabilities
    picture = ContentParts([{"type": "image_url", "image_url": {"url": "https://img.example/gears.png"}}])
    for pattern in (each for each in declared if resolve(each, declared).multimodal):
        sent = subject.sent(model=pattern, documents=["tubes", picture])
        _require(b'"https://img.example/gears.png"' in sent, f"{pattern} is declared multimodal, and gets no picture")


RUBBISH = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
    "plain text": b"upstream connect error",
    "text that is not UTF-8": b'{"message": "\xff"}',
    "bytes that are no text": b"\xff\xfe\x00\x01",
    "an object nested too deeply": b'{"message":' * 100_000,
    "a list nested too deeply": b"[" * 100_000,
    "depth in a field nobody reads": b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    "a number beyond floats": b'{"results": [{"index": 0, "relevance_score": 1e999}]}',
    "not a number": b'{"results": [{"index": 0, "relevance_score": NaN}]}',
    "an answer cut short": b'{"results": [{"index": 0, "rel',
}


@_promise
def refuses_rubbish(subject: Subject) -> None:
    for body in RUBBISH.values():
        _require_refused(subject, body)


@_promise
def finds_no_sentence_in_rubbish(subject: Subject) -> None:
    for name, body in RUBBISH.items():
        sentence = subject.provider.error_message(body)
        _require(sentence == "", f"error_message finds {sentence!r} in {name}")


@_promise
def survives_any_body(subject: Subject) -> None:
    for body in _random_bodies(subject):
        _decode(subject, body)
        _require(isinstance(subject.provider.error_message(body), str), f"error_message gives no text for {body!r}")


def _require_refused(subject: Subject, body: bytes) -> None:
    _require(_decode(subject, body) is None, f"decode takes {body[:200]!r} for an answer")


def _decode(subject: Subject, body: bytes) -> Ranking | None:
    """The ranking, or None for a body that is refused in one of the two ways that count as that."""
    try:
        ranking = subject.decode(body)
    except (ValueError, BadAnswer):
        return None
    _require(isinstance(ranking, Ranking), f"decode gives {ranking!r} for {body!r}, not a Ranking")
    return ranking


def _random_bodies(subject: Subject) -> Iterator[bytes]:
    """Noise, pieces of the vendor's answers, and those answers with a part replaced; the same ones in every run."""
    chance = random.Random(subject.provider.name)
    for _ in range(RANDOM_BODIES):
        answer = chance.choice((subject.success, subject.minimal, b'{"error": {"message": "m"}, "detail": ["d"]}'))
        yield chance.randbytes(chance.randrange(40))
        yield answer[: chance.randrange(len(answer))]
        yield json.dumps(_with_a_part_replaced(json.loads(answer), chance)).encode()


def _with_a_part_replaced(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
        return _random_value(chance, depth=2)
    place = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    value[place] = _with_a_part_replaced(value[place], chance)
    return value


def _random_value(chance: random.Random, depth: int) -> Any:
    if depth and chance.random() < 0.4:
        inner = [_random_value(chance, depth - 1) for _ in range(chance.randrange(3))]
        names = ("message", "detail", "error", "errors", "loc", "msg", "field", "index", "score")
        return inner if chance.random() < 0.5 else {chance.choice(names): value for value in inner}
    return chance.choice((None, True, 0, -1, 2**70, 0.5, math.inf, math.nan, "", "text", "\ud800"))
