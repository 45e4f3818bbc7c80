"""Every HTTP adapter keeps every promise of `HttpProvider`. A new adapter is tested here without a line being added,
unless it declares a vendor's field that no adapter declared before: that needs a sample value in SAMPLES."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers import registry
from providers.errors import BadAnswer
from providers.spec import HttpProvider
from providers.types import Ranking, RerankRequest

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]

CANONICAL = {"top_n": 1, "max_tokens_per_doc": 64, "priority": 7, "return_documents": True}
SAMPLES: dict[str, Any] = {
    "truncation": False,
    "max_doc_length": 1024,
    "truncate_prompt_tokens": 256,
    "truncation_side": "left",
    "max_tokens_per_query": 32,
    "instruction": "prefer official manuals",
    "chat_template_kwargs": {"instruction": "prefer official manuals"},
    "use_activation": False,
    "mm_processor_kwargs": {"num_crops": 4},
    "padding": "max_length",
    "cache_salt": "tenant-7",
}
NEVER_PASSED = {"return_embeddings": True, "relevant_spans": {"mode": "enabled"}, "stream": True, "made_up": 1}
OPTIONAL = [*CANONICAL, *SAMPLES, *NEVER_PASSED]
MODELS = {"jina": "jina-reranker-v3"}
"""Where what is sent depends on the model: one that takes every declared field."""

HTTP_ADAPTERS = [found for found in map(registry.find, registry.names()) if isinstance(found, HttpProvider)]
every_adapter = pytest.mark.parametrize("adapter", HTTP_ADAPTERS, ids=lambda adapter: adapter.name)
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Nothing here is about time: a busy machine must not fail it."""


def with_field(asked: Asked, adapter: HttpProvider, name: str, value: Any) -> RerankRequest:
    model = MODELS.get(adapter.name, "a-model")
    return asked(model=model, **({name: value} if name in CANONICAL else {"extra": {name: value}}))


def full(asked: Asked, adapter: HttpProvider) -> RerankRequest:
    return asked(model=MODELS.get(adapter.name, "a-model"), **CANONICAL, extra=SAMPLES | NEVER_PASSED)


def nulls(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (name for name, inner in value.items() if inner is None)
        yield from (name for inner in value.values() for name in nulls(inner))
    if isinstance(value, list):
        yield from (name for inner in value for name in nulls(inner))


def decoded_or_refused(adapter: HttpProvider, body: bytes, request: RerankRequest) -> Ranking | None:
    try:
        return adapter.decode(body, request)
    except (ValueError, BadAnswer):
        return None


def test_the_four_vendors_are_among_the_adapters() -> None:
    assert {"cohere", "jina", "voyage", "vllm"} <= {adapter.name for adapter in HTTP_ADAPTERS}


@every_adapter
def test_declares_only_fields_that_this_test_knows(adapter: HttpProvider) -> None:
    assert adapter.fields <= CANONICAL.keys() | SAMPLES.keys()


@every_adapter
def test_says_where_it_is_from(adapter: HttpProvider) -> None:
    doc = importlib.import_module(adapter.encode.__module__).__doc__ or ""
    assert re.search(r"^Source: .*https://.*\(20\d\d-\d\d\)$", doc, re.M | re.S)


@every_adapter
def test_says_where_to_send(adapter: HttpProvider) -> None:
    assert registry.find(adapter.name) is adapter
    assert re.fullmatch(r"(/[a-z0-9_-]+)+", adapter.path)
    assert adapter.base_url is None or re.fullmatch(r"https://[a-z0-9.-]+", adapter.base_url)
    assert adapter.max_documents is None or adapter.max_documents > 0


@every_adapter
@pytest.mark.parametrize("name", OPTIONAL)
def test_a_field_changes_the_body_if_and_only_if_declared(adapter: HttpProvider, name: str, asked: Asked) -> None:
    value = (CANONICAL | SAMPLES | NEVER_PASSED)[name]
    plain = adapter.encode(asked(model=MODELS.get(adapter.name, "a-model")))
    assert (adapter.encode(with_field(asked, adapter, name, value)) != plain) == (name in adapter.fields)


@every_adapter
@pytest.mark.parametrize("name", [name for name in OPTIONAL if name != "return_documents"])
def test_a_null_field_is_an_absent_field(adapter: HttpProvider, name: str, asked: Asked) -> None:
    plain = adapter.encode(asked(model=MODELS.get(adapter.name, "a-model")))
    assert adapter.encode(with_field(asked, adapter, name, None)) == plain


@every_adapter
@pytest.mark.parametrize("of", ["plain", "full"])
def test_never_sends_a_null(adapter: HttpProvider, of: str, asked: Asked) -> None:
    body = adapter.encode(full(asked, adapter) if of == "full" else asked())
    assert list(nulls(json.loads(msgspec.json.encode(body)))) == []


@every_adapter
def test_never_asks_for_more_than_there_is(adapter: HttpProvider, asked: Asked) -> None:
    assert adapter.encode(asked(top_n=100)) == adapter.encode(asked(top_n=3 if "top_n" in adapter.fields else None))


@every_adapter
def test_encoding_is_pure_and_repeatable(adapter: HttpProvider, asked: Asked) -> None:
    request = full(asked, adapter)
    before = msgspec.json.encode(request)
    first = adapter.encode(request)
    again = adapter.encode(request)
    assert first == again
    assert first is not again
    assert msgspec.json.encode(request) == before


@every_adapter
def test_every_text_of_the_caller_is_sent(adapter: HttpProvider, asked: Asked) -> None:
    sent = msgspec.json.encode(adapter.encode(asked(query='a "quoted" ☃ query'))).decode()
    assert json.dumps('a "quoted" ☃ query', ensure_ascii=False) in sent
    assert sent.index('"tubes"') < sent.index('"helmets"') < sent.index('"sealant"')


@every_adapter
def test_a_minimal_answer_is_a_ranking_of_unknown_usage(adapter: HttpProvider, wire: Wire, asked: Asked) -> None:
    ranking = adapter.decode(wire(f"{adapter.name}/minimal"), asked())
    assert [(row.index, row.relevance_score) for row in ranking.results] == [(0, 0.5)]
    assert ranking.usage is None


@every_adapter
def test_a_full_answer_is_a_ranking_of_known_usage(adapter: HttpProvider, wire: Wire, asked: Asked) -> None:
    ranking = adapter.decode(wire(f"{adapter.name}/success"), asked())
    assert ranking.results
    assert all(type(row.index) is int and type(row.relevance_score) is float for row in ranking.results)
    assert all(math.isfinite(row.relevance_score) for row in ranking.results)
    assert ranking.usage is not None


@every_adapter
def test_decoding_is_repeatable(adapter: HttpProvider, wire: Wire, asked: Asked) -> None:
    body = wire(f"{adapter.name}/success")
    assert adapter.decode(body, asked()) == adapter.decode(body, asked())


def spoiled(value: Any) -> Iterator[Any]:
    """The value with one of its parts missing, or of another kind, for each of its parts."""
    yield from (None, "rubbish", {"rubbish": 1})
    if isinstance(value, dict):
        for name in value:
            yield {other: inner for other, inner in value.items() if other != name}
            yield from ({**value, name: worse} for worse in spoiled(value[name]))
    if isinstance(value, list):
        yield from ([worse] for worse in spoiled(value[0]))


@every_adapter
def test_refuses_a_minimal_answer_with_any_part_spoiled(adapter: HttpProvider, wire: Wire, asked: Asked) -> None:
    for answer in spoiled(json.loads(wire(f"{adapter.name}/minimal"))):
        with pytest.raises((ValueError, BadAnswer)):
            adapter.decode(json.dumps(answer).encode(), asked())


RUBBISH = {
    "empty": b"",
    "html": b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
    "plain text": b"upstream connect error",
    "not utf-8": b'{"message": "\xff"}',
    "not even text": b"\xff\xfe\x00\x01",
    "nested too deeply": b'{"message":' * 100_000,
    "a deep list": b"[" * 100_000,
    "deep in a field nobody reads": b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    "a number beyond floats": b'{"results": [{"index": 0, "relevance_score": 1e999}]}',
    "not a number": b'{"results": [{"index": 0, "relevance_score": NaN}]}',
    "cut short": b'{"results": [{"index": 0, "rel',
}


@every_adapter
@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_refuses_rubbish(adapter: HttpProvider, body: bytes, asked: Asked) -> None:
    with pytest.raises((ValueError, BadAnswer)):
        adapter.decode(body, asked())


@every_adapter
@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_finds_no_sentence_in_rubbish(adapter: HttpProvider, body: bytes) -> None:
    assert adapter.error_message(body) == ""


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["message", "detail", "error", "errors", "loc", "msg", "field", "results", "data", "index"])
            | st.sampled_from(["relevance_score", "score", "usage", "total_tokens", "meta", "tokens", "id"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
BODIES = st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode())


@every_adapter
@quick
@given(body=BODIES)
def test_error_message_never_raises(adapter: HttpProvider, body: bytes) -> None:
    assert isinstance(adapter.error_message(body), str)


@every_adapter
@quick
@given(body=BODIES)
def test_decode_gives_a_ranking_or_refuses(adapter: HttpProvider, body: bytes) -> None:
    ranking = decoded_or_refused(adapter, body, RerankRequest(model="m", query="q", documents=["d"]))
    assert ranking is None or isinstance(ranking, Ranking)
