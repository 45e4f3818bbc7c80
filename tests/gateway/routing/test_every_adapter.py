"""Every adapter behind HTTP through the whole gateway, with a vendor on loopback that answers each recorded body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.loader import default
from providers import registry
from providers.spec import AwsSignature, Bearer, Header, HttpProvider
from providers.testing import ScriptedUpstream
from providers.wire.too_long import is_too_long

WIRE = Path(__file__).parents[2] / "wire"
ADAPTERS = {
    provider.name: provider for provider in map(registry.find, registry.names()) if isinstance(provider, HttpProvider)
}
SUCCESSES = sorted(name for name in ADAPTERS if (WIRE / name / "success.json").exists())
ERRORS = sorted(f"{name}/{body.stem}" for name in ADAPTERS for body in (WIRE / name).glob("error_*.json"))
OPTIONS = {
    "bedrock": {"region": "us-west-2"},
    "cloudflare": {"account_id": "an-account"},
    "vertex": {"project": "a-project"},
    "watsonx": {"project_id": "a-project"},
}
"""Of adapters that do not work without."""
DOCUMENTS = ["tubes", "helmets", "sealant", "pumps", "patches"]
POSITIONAL = {"deepinfra": "scores", "openai-decisions": "answers"}
"""Vendors that answer in the order of the documents, and where: their recorded answers are to three."""


@pytest.fixture(autouse=True)
def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Credentials as AWS's and Google's own libraries find them, with Google's token service on loopback."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-aws-secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with ScriptedUpstream() as tokens:
        tokens.reply_with(200, {"access_token": "secret-key", "expires_in": 3600, "token_type": "Bearer"})
        account = {"client_email": "a@b.example", "private_key": private_key(), "token_uri": f"{tokens.url}/token"}
        file = tmp_path / "account.json"
        file.write_text(json.dumps({"type": "service_account", "project_id": "a-project", **account}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def ask(opened: Any, upstream: ScriptedUpstream) -> Any:
    """Rank by that adapter, the vendor on loopback being its base URL."""

    async def post(name: str, asks: dict[str, Any] | None = None, **settings: Any) -> Any:
        provider = {"adapter": name, "base_url": upstream.url, "retry": {"retries": 0}}
        provider |= {"api_key": "secret-key"} if isinstance(ADAPTERS[name].auth, Bearer | Header) else {}
        provider |= {"options": OPTIONS[name]} if name in OPTIONS else {}
        client = await opened({"providers": {"vendor": {**provider, **settings}}})
        body = {"model": "vendor/a/model-1", "query": "how long does a tube last", "documents": DOCUMENTS, "top_n": 3}
        return await client.post("/v1/rerank", json={**body, **(asks or {})})

    return post


def recorded(name: str) -> bytes:
    """A vendor's answer as recorded; one by position, to as many documents as are asked about here."""
    body = (WIRE / name / "success.json").read_bytes()
    if name not in POSITIONAL:
        return body
    answer = json.loads(body)
    answer[POSITIONAL[name]] = (answer[POSITIONAL[name]] * 2)[: len(DOCUMENTS)]
    return json.dumps(answer).encode()


def configured(name: str) -> HttpProvider:
    """The adapter with the options that it needs."""
    provider = ADAPTERS[name]
    options = provider.options
    return options.apply(msgspec.convert(OPTIONS[name], options.shape)) if options and name in OPTIONS else provider


@pytest.mark.parametrize("name", SUCCESSES)
async def test_ranks(name: str, ask: Any, upstream: ScriptedUpstream) -> None:
    provider, body = configured(name), recorded(name)
    upstream.reply_with(200, body)
    answer = await ask(name)
    assert answer.status_code == 200, answer.text
    scores = [row["relevance_score"] for row in answer.json()["results"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 <= len(scores) <= 3
    (request,) = upstream.requests
    assert request.path == (provider.path if isinstance(provider.path, str) else provider.path("a/model-1"))
    auth = provider.auth if isinstance(provider.auth, Header) else Header("authorization", "Bearer")
    sent = request.headers[auth.name.lower()]
    if isinstance(provider.auth, AwsSignature):
        assert re.match(r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/us-west-2/bedrock/aws4_request, ", sent)
    else:
        assert sent == f"{auth.scheme} secret-key".strip()
    assert {name: request.headers[name.lower()] for name in provider.headers} == provider.headers


@pytest.mark.parametrize("name", SUCCESSES)
async def test_more_documents_than_a_call_takes_are_split(name: str, ask: Any, upstream: ScriptedUpstream) -> None:
    upstream.reply_with(200, recorded(name))
    known = {"*": {"scoring": "pointwise", "limits": {"documents": 5}}}
    one = (await ask(name, asks={"top_n": None})).json()
    both = (await ask(name, capabilities=known, asks={"documents": DOCUMENTS * 2, "top_n": None})).json()
    found = {row["index"]: row["relevance_score"] for row in one["results"]}
    assert {row["index"]: row["relevance_score"] for row in both["results"]} == {
        **found,
        **{index + 5: score for index, score in found.items()},
    }
    for count, total in (one.get("usage") or {}).items():
        assert both["usage"][count] == 2 * total
    (attempt,) = both["extra_fields"]["attempts"]
    assert [(part["documents"], part["status"]) for part in attempt["parts"]] == [(5, 200)] * 2
    assert [request.method for request in upstream.requests].count("POST") == 3


@pytest.mark.parametrize("name", SUCCESSES)
async def test_documents_are_cut_by_the_provider_or_by_the_gateway(
    name: str, ask: Any, upstream: ScriptedUpstream
) -> None:
    upstream.reply_with(200, recorded(name))
    long = "all about inner tubes " * 20
    answer = await ask(name, asks={"documents": [*DOCUMENTS[:4], long], "max_tokens_per_doc": 67})
    assert answer.status_code == 200, answer.text
    sent = json.dumps(upstream.requests[0].body)
    provider = configured(name)
    cuts = any(fnmatchcase("a/model-1", pattern) for pattern in provider.cuts_documents)
    if "max_tokens_per_doc" in provider.fields and cuts:
        assert long in sent
        assert "truncated" not in answer.json()["extra_fields"]
    else:
        assert ("all about inner tubes " * 3).strip() in sent
        assert "all about inner tubes " * 4 not in sent
        assert answer.json()["extra_fields"]["truncated"] == [{"index": 4, "characters": 440, "kept": 66}]


@pytest.mark.parametrize("case", ERRORS)
async def test_tells_the_vendor_s_own_sentence(case: str, ask: Any, upstream: ScriptedUpstream) -> None:
    name, body = case.partition("/")[0], (WIRE / f"{case}.json").read_bytes()
    status = re.search(r"error_(\d{3})", case)
    assert status is not None
    upstream.reply_with(int(status[1]), json.loads(body))
    answer = await ask(name)
    assert answer.status_code >= 400
    sentence = ADAPTERS[name].error_message(body)
    too_long = is_too_long(int(status[1]), sentence, ADAPTERS[name].too_long)
    # Those are the gateway's to mend, and may echo parts of its key.
    if int(status[1]) in (401, 402, 403) and not too_long:
        assert answer.json()["error_type"] == "upstream_credentials"
    else:
        assert sentence in answer.json()["message"]


VARIABLES = {name: provider.api_key_env for name, provider in ADAPTERS.items() if provider.api_key_env}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_usual_variable_alone_is_enough_or_does_nothing(name: str) -> None:
    configured = default({VARIABLES[name]: "a-key"}).providers
    assert (name in configured) is (name not in OPTIONS)


async def test_a_compatible_server_has_its_endpoint_where_its_options_say(ask: Any, upstream: ScriptedUpstream) -> None:
    upstream.behave("ranks")
    assert (await ask("compatible", options={"path": "/api/rank"})).status_code == 200
    assert [request.path for request in upstream.requests] == ["/api/rank"]


async def test_the_figures_of_a_gateway_behind_this_one_are_shown(ask: Any, upstream: ScriptedUpstream) -> None:
    upstream.reply_with(200, (WIRE / "gateway" / "success.json").read_bytes())
    shown = (await ask("gateway")).json()["extra_fields"]
    assert (shown["provider"], shown["truncated_documents"], shown["queue_ms"]) == ("vendor", 2, 3.5)
    assert "cost" not in shown


TOO_LONG = {
    "with a 400": ("vllm", 400, "This model's maximum context length is 512 tokens.", 400),
    "with a 403": ("together", 403, "the input is longer than the context", 413),
    "with a 413": ("tei", 413, "batch size 40 > maximum allowed batch size 32", 413),
    "with a 422": ("tei", 422, "`inputs` must have less than 512 tokens. Given: 534", 422),
    "with a 500": ("llamacpp", 500, "input (2793 tokens) is too large to process (current batch size: 2048)", 413),
}


@pytest.mark.parametrize(("name", "status", "sentence", "told"), TOO_LONG.values(), ids=TOO_LONG)
async def test_a_text_that_is_too_long_is_the_caller_s(
    name: str, status: int, sentence: str, told: int, ask: Any, upstream: ScriptedUpstream
) -> None:
    upstream.reply_with(status, {"error": {"message": sentence}})
    answer = await ask(name, retry={"retries": 2})
    assert (answer.status_code, answer.json()["error_type"]) == (told, "upstream_rejected")
    assert sentence in answer.json()["message"]
    assert len(upstream.requests) == 1  # It is not asked again: the same text would be too long again.


async def test_a_key_is_not_blamed_for_a_long_text(opened: Any, upstream: ScriptedUpstream) -> None:
    client = await opened({"providers": {"together": {"base_url": upstream.url, "api_key": "k"}}})
    body = {"model": "together/m", "query": "q", "documents": DOCUMENTS}
    upstream.reply_with(403, {"error": {"message": "the input is longer than the context"}})
    for _ in range(5):
        assert (await client.post("/v1/rerank", json=body)).status_code == 413
    upstream.behave("ranks")
    assert (await client.post("/v1/rerank", json=body)).status_code == 200


PICTURE = {"image": "https://img.example/gears.png"}


async def test_pictures_go_to_the_models_that_read_them(opened: Any, upstream: ScriptedUpstream) -> None:
    provider = {"base_url": upstream.url, "api_key": "k"}
    corrected = {**provider, "adapter": "jina", "capabilities": {"jina-reranker-m1": {"multimodal": True}}}
    client = await opened({"providers": {"jina": provider, "lab": corrected}})
    upstream.reply_with(200, (WIRE / "jina" / "success.json").read_bytes())
    told = {}
    for model in ("jina/jina-reranker-m0", "jina/jina-reranker-v3", "lab/jina-reranker-m1", "lab/jina-reranker-v3"):
        body = {"model": model, "query": "q", "documents": ["tubes", PICTURE]}
        told[model] = (await client.post("/v1/rerank", json=body)).status_code
    assert list(told.values()) == [200, 400, 200, 400]
    assert [request.body["documents"] for request in upstream.requests] == [["tubes", PICTURE]] * 2
