"""Typos in requests: unknown fields are named in every dialect, known ones never, within bounds."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.api.dialect import IncomingRequest
from gateway.api.dialects import unknown_fields
from gateway.api.dialects.cohere import BodyV1, BodyV2
from gateway.api.dialects.infinity import Body as InfinityBody
from gateway.api.dialects.jina import Body as JinaBody
from gateway.api.dialects.score import Body as ScoreBody
from gateway.api.dialects.tei import Body as TeiBody
from gateway.api.dialects.vllm import Body as VllmBody
from gateway.api.dialects.voyage import Body as VoyageBody
from providers import registry
from providers.types import Call

DOCUMENTS = ["one", "two"]
ASK: dict[str, Any] = {"model": "vllm/m", "query": "q", "documents": DOCUMENTS}
TEXTS: dict[str, Any] = {"query": "q", "texts": DOCUMENTS}
PAIRS: dict[str, Any] = {"model": "vllm/m", "text_1": "q", "text_2": DOCUMENTS}

ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "unified": ("/v1/rerank", ASK),
    "unified, as TEI": ("/rerank", TEXTS),
    "cohere 1": ("/cohere/v1/rerank", ASK),
    "cohere 2": ("/cohere/v2/rerank", ASK),
    "jina": ("/jina/v1/rerank", ASK),
    "voyage": ("/voyage/v1/rerank", ASK),
    "vllm": ("/vllm/v1/rerank", ASK),
    "infinity": ("/infinity/rerank", ASK),
    "tei": ("/tei/rerank", TEXTS),
    "score": ("/v1/score", PAIRS),
}


@pytest.fixture
async def gateway(opened: Any, upstream: Any) -> Any:
    return await opened(
        {"providers": {"vllm": {"adapter": "jina", "base_url": upstream.url}}, "default_model": "vllm/m"}
    )


@pytest.mark.parametrize(("path", "body"), ROUTES.values(), ids=ROUTES.keys())
async def test_every_dialect_names_what_it_does_not_read(gateway: Any, path: str, body: dict[str, Any]) -> None:
    plain = await gateway.post(path, json=body)
    typo = await gateway.post(path, json={**body, "topn": 1, "return-documents": True})
    assert (plain.status_code, typo.status_code) == (200, 200), typo.text
    assert "x-gateway-ignored" not in plain.headers
    assert typo.headers["x-gateway-ignored"] == "topn, return-documents"


UNIFIED: dict[str, tuple[dict[str, Any], list[str] | None]] = {
    "nothing unknown": ({}, None),
    "one": ({"top-n": 1}, ["top-n"]),
    "in the order sent, each once": ({"zz": 1, "aa": {"top_n": 3}}, ["zz", "aa"]),
    "of other case": ({"Top_N": 1}, ["Top_N"]),
    "all known ones": ({"top_k": 1, "max_tokens_per_doc": 9, "priority": None, "return_documents": "true"}, None),
    "those of vendors": ({"truncation": True, "max_chunks_per_doc": None, "instruction": "x"}, None),
}


@pytest.mark.parametrize(("more", "names"), UNIFIED.values(), ids=UNIFIED.keys())
async def test_the_unified_answer_names_them(gateway: Any, more: dict[str, Any], names: list[str] | None) -> None:
    reply = await gateway.post("/v1/rerank", json={**ASK, **more})
    assert reply.status_code == 200, reply.text
    assert reply.json()["extra_fields"].get("ignored") == names


async def test_an_error_names_them_too(gateway: Any) -> None:
    """Where a typo is in a field that must be there, the error alone would not tell."""
    reply = await gateway.post("/v1/rerank", json={"model": "vllm/m", "qeury": "q", "documents": DOCUMENTS})
    assert (reply.status_code, reply.json()["message"]) == (400, "query is required for rerank")
    assert reply.json()["extra_fields"]["ignored"] == ["qeury"]
    assert reply.headers["x-gateway-ignored"] == "qeury"


HOSTILE: dict[str, tuple[str, str]] = {
    "a line break": ("a\r\nset-cookie: x", "a%0D%0Aset-cookie%3A%20x"),
    "a comma": ("a, b", "a%2C%20b"),
    "an escape": ("\x1b[2J", "%1B%5B2J"),
    "another script": ("文", "%E6%96%87"),
    "nothing": ("", ""),
    "a long one": ("x" * 5000, "x" * 63 + "%E2%80%A6"),
}


@pytest.mark.parametrize(("name", "shown"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_names_are_the_callers_text(gateway: Any, name: str, shown: str) -> None:
    reply = await gateway.post("/v1/rerank", json={**ASK, name: 1})
    assert reply.status_code == 200
    assert reply.headers["x-gateway-ignored"] == shown
    assert len(reply.json()["extra_fields"]["ignored"][0]) <= unknown_fields.MAX_NAME_LENGTH


async def test_their_number_is_bounded(gateway: Any) -> None:
    reply = await gateway.post("/v1/rerank", json={**ASK, **{f"field{number}": 1 for number in range(3000)}})
    assert reply.json()["extra_fields"]["ignored"] == [f"field{number}" for number in range(unknown_fields.MAX_NAMES)]


BODIES = [BodyV1, BodyV2, InfinityBody, JinaBody, ScoreBody, TeiBody, VllmBody, VoyageBody]


@pytest.mark.parametrize("body_type", BODIES, ids=lambda body_type: body_type.__module__.rpartition(".")[2])
def test_no_field_of_a_dialect_is_unknown(body_type: Any) -> None:
    known = frozenset(field.encode_name for field in msgspec.structs.fields(body_type))
    assert unknown_fields.unknown_names(json.dumps(dict.fromkeys(known)).encode(), known) == ()


async def test_no_field_of_an_adapter_is_unknown(gateway: Any) -> None:
    declared = {name for adapter in registry.names() for name in registry.find(adapter).fields}
    reply = await gateway.post("/v1/rerank", json={**ASK, **dict.fromkeys(declared)})
    assert "x-gateway-ignored" not in reply.headers


class _Body(msgspec.Struct, kw_only=True):
    query: str | None = None


def test_a_body_without_unknown_fields_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_fields, "_decode_keys", lambda raw: pytest.fail("the keys were read"))
    decode = unknown_fields.decoder(_Body)
    incoming = IncomingRequest(b'{"query": "q"}', "/", (), Call(id="i"), lambda name: False)
    call = incoming.call
    assert decode(incoming).query == "q"
    assert incoming.call is call
