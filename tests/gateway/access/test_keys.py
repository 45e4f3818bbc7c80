"""Keys: who is let in, how the key is looked up, and what a key may ask for."""

from __future__ import annotations

import hmac
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.access import keys as keys_module
from gateway.access.keys import ANYONE, PREFIX, CallerKeySettings, KeyTable, hash_of, matcher, new_key
from gateway.api.auth import presented_key
from gateway.errors import ModelNotAllowed, Unauthorized
from tests.gateway.access.conftest import Upstream, body, key

FORMS = {
    "bearer": [(b"authorization", b"Bearer K")],
    "bearer in lower case": [(b"authorization", b"bearer K")],
    "bearer in upper case": [(b"authorization", b"BEARER K")],
    "bearer and more spaces": [(b"authorization", b"  Bearer   K ")],
    "bare": [(b"authorization", b"K")],
    "x-api-key": [(b"x-api-key", b"K")],
    "api-key": [(b"api-key", b"K")],
    "authorization wins": [(b"x-api-key", b"other"), (b"authorization", b"Bearer K")],
    "an empty one is none": [(b"authorization", b""), (b"x-api-key", b"K")],
    "a scheme alone is none": [(b"authorization", b"Bearer "), (b"api-key", b"K")],
}


@pytest.mark.parametrize("headers", FORMS.values(), ids=FORMS.keys())
def test_a_key_is_found_in_every_form_that_clients_send(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented_key(headers) == "K"


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"")], [(b"x-api-key", b" ")], [(b"cookie", b"K")]], ids=str
)
def test_no_key_is_found_where_none_is(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented_key(headers) is None


def test_a_new_key_has_the_prefix_and_256_bits_and_is_never_the_same() -> None:
    made = [new_key()[0] for _ in range(100)]
    assert len(set(made)) == 100
    assert {secret[: len(PREFIX)] for secret in made} == {PREFIX}
    assert {len(secret) for secret in made} == {len(PREFIX) + 43}, "43 letters of base64 hold 256 bits"


def test_a_key_is_found_by_its_hash() -> None:
    secret, digest = new_key()
    assert KeyTable([CallerKeySettings(name="team", hash=digest)]).find(secret).name == "team"


HOSTILE = {
    "none": None,
    "empty": "",
    "unknown": "rgw_x",
    "the hash itself": hash_of("K"),
    "a lone surrogate": "\ud800",
    "NUL": "\x00",
    "not ASCII": "\xff\xfe",
    "long": "k" * 1_000_000,
}


@pytest.mark.parametrize("presented", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_other_key_is_refused(presented: str | None) -> None:
    with pytest.raises(Unauthorized):
        KeyTable([CallerKeySettings(name="team", hash=hash_of("K"))]).find(presented)


@pytest.mark.parametrize("seconds", [-1, 0])
def test_an_expired_key_is_refused_in_the_same_words_as_an_unknown_one(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    monkeypatch.setattr(keys_module.time, "time", now.timestamp)
    table = KeyTable([CallerKeySettings(name="team", hash=hash_of("K"), expires=now + timedelta(seconds=seconds))])
    with pytest.raises(Unauthorized) as expired:
        table.find("K")
    with pytest.raises(Unauthorized) as unknown:
        table.find("other")
    assert expired.value.message == unknown.value.message


def test_a_key_works_until_it_expires() -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert KeyTable([CallerKeySettings(name="team", hash=hash_of("K"), expires=tomorrow)]).find("K").name == "team"


@pytest.mark.parametrize("presented", ["K", "L", "x" * 10_000], ids=["right", "wrong", "long"])
def test_whatever_is_presented_two_digests_of_equal_length_are_compared_in_constant_time(
    presented: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timing-independence by construction: no comparison sees the key, and each takes the same path."""
    compared: list[tuple[Any, Any]] = []

    def noted(left: Any, right: Any) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(keys_module, "hmac", type("hmac", (), {"compare_digest": staticmethod(noted)}))
    table = KeyTable([CallerKeySettings(name="team", hash=hash_of("K"))])
    with suppress(Unauthorized):
        table.find(presented)
    [(left, right)] = compared
    assert type(left) is type(right) is bytes
    assert len(left) == len(right) == 32
    assert presented.encode() not in (left, right)


PATTERNS: dict[str, tuple[list[str], str, bool]] = {
    "any": (["*"], "cohere/x", True),
    "exact": (["fast"], "fast", True),
    "exact is not a prefix": (["fast"], "faster", False),
    "a provider's models": (["cohere/*"], "cohere/rerank-v3.5", True),
    "another provider's": (["cohere/*"], "jina/x", False),
    "letter case counts": (["cohere/*"], "Cohere/x", False),
    "one of several": (["a", "b/*"], "b/c", True),
    "a dot is a dot": (["v3.5"], "v3x5", False),
    "a line break does not end a name": (["fast"], "fast\n", False),
    "no pattern allows nothing": ([], "fast", False),
}


@pytest.mark.parametrize(("patterns", "name", "allowed"), PATTERNS.values(), ids=PATTERNS.keys())
def test_models_are_matched_by_pattern(patterns: list[str], name: str, allowed: bool) -> None:
    allows = matcher(patterns)
    assert (allows is None or bool(allows(name))) is allowed


def test_without_keys_everybody_may_ask_for_everything() -> None:
    ANYONE.check("anything", "else")


def test_the_sentence_about_a_model_that_is_not_allowed_is_bounded() -> None:
    principal = KeyTable([CallerKeySettings(name="t", hash=hash_of("K"), models=["a"])]).find("K")
    with pytest.raises(ModelNotAllowed) as refused:
        principal.check("m" * 100_000)
    assert len(refused.value.message) < 400


REFUSED = {
    "the model": ({"models": ["slow"]}, body(model="cohere/rerank-v3.5")),
    "the caller's fallback": ({"models": ["slow"]}, body(model="slow", fallbacks=["cohere/other"])),
    "a configured fallback": ({"models": ["fast"]}, body(model="fast")),
    "the second fallback": (
        {"models": ["slow", "cohere/other"]},
        body(model="slow", fallbacks=["cohere/other", "fast"]),
    ),
}


@pytest.mark.parametrize(("settings", "request_body"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_a_key_may_not_ask_for_is_403_and_no_upstream_hears_of_it(
    settings: dict[str, Any], request_body: dict[str, Any], serve: Any, upstream: Upstream
) -> None:
    secret, entry = key(**settings)
    client = await serve(auth={"keys": [entry]})
    answer = await client.post("/v1/rerank", json=request_body, headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["error_type"]) == (403, "model_not_allowed")
    assert upstream.calls == []


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer rgw_wrong"}], ids=["no key", "wrong key"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
async def test_without_the_right_key_the_answer_is_401(
    path: str, headers: dict[str, str], serve: Any, upstream: Upstream
) -> None:
    client: httpx.AsyncClient = await serve(auth={"keys": [key()[1]]})
    answer = await client.post(path, json=body(), headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error_type"] == "unauthorized"
    assert "rgw_wrong" not in answer.text
    assert upstream.calls == []


async def test_a_bad_body_is_not_looked_at_before_the_key(serve: Any) -> None:
    client = await serve(auth={"keys": [key()[1]]})
    assert (await client.post("/v1/rerank", content=b"{")).status_code == 401


async def test_the_list_of_models_takes_a_key_and_the_probes_do_not(serve: Any) -> None:
    secret, entry = key()
    client = await serve(auth={"keys": [entry]})
    assert (await client.get("/v1/models")).status_code == 401
    assert (await client.get("/v1/models", headers={"x-api-key": secret})).status_code == 200
    assert [(await client.get(path)).status_code for path in ("/livez", "/readyz")] == [200, 200]


async def test_a_key_sees_only_the_names_that_it_may_ask_for(serve: Any) -> None:
    secret, entry = key(models=["slow", "cohere/*"])
    client = await serve(auth={"keys": [entry]}, default_model="fast")
    headers = {"x-api-key": secret}
    assert [model["id"] for model in (await client.get("/v1/models", headers=headers)).json()["data"]] == ["slow"]
    paths = {
        "/v1/models/slow": 200,
        "/v1/models/cohere/x": 200,
        "/v1/models/fast": 403,
        "/v1/models/nope": 403,
        "/info": 403,
        "/tei/info": 403,
        "/tei/fast/info": 403,
        "/tei/slow/info": 200,
        "/tei/fast/health": 403,
        "/tei/slow/health": 200,
    }
    assert {path: (await client.get(path, headers=headers)).status_code for path in paths} == paths


NOT_TOLD: dict[str, tuple[list[str], str, str]] = {
    # what the key may use, what it asks for, and what it is told
    "a name that it may use": (["fas*"], "fasts", '; did you mean "fast"?'),
    "a name that it may not": (["fasts"], "fasts", "; write provider/model"),
    "another name near both": (["fasl*", "slow"], "faslow", '; did you mean "slow"?'),
    "a provider that it may use": (["coher*"], "coher/x", '; did you mean "cohere/x"?'),
    "a provider that it may not": (["coher/*"], "coher/x", ': no provider "coher" is configured'),
    "where the names are": (["slow", "zz*"], "zz", "; GET /v1/models lists the names"),
    "a provider's own name": (
        ["cohere", "cohere/*"],
        "cohere",
        ": it is a provider; write cohere/ and one of its models",
    ),
    "a provider's name alone": (["cohere"], "cohere", "; write provider/model"),
}


@pytest.mark.parametrize(("models", "name", "told"), NOT_TOLD.values(), ids=NOT_TOLD)
async def test_an_unknown_name_tells_no_name_that_the_key_may_not_use(
    serve: Any, models: list[str], name: str, told: str
) -> None:
    secret, entry = key(models=models)
    client = await serve(auth={"keys": [entry]})
    headers = {"x-api-key": secret}
    sentence = f'unknown model "{name}"{told}'
    reply = await client.post("/v1/rerank", json=body(model=name), headers=headers)
    assert (reply.status_code, reply.json()["message"]) == (404, sentence)
    assert [row["error"] for row in reply.json()["extra_fields"].get("attempts", [])] in (
        [],
        [f'unknown model "{name}"'],
    )
    described = await client.get(f"/v1/models/{name}", headers=headers)
    assert (described.status_code, described.json()["message"]) == (404, sentence)
    info = await client.get(f"/tei/{name}/info", headers=headers)
    assert (info.status_code, info.json()["error"]) == (404, sentence)


OPEN = {
    "/livez": 200,
    "/readyz": 200,
    "/startupz": 200,
    "/health": 200,
    "/tei/health": 200,
    "/v1/cluster/auth": 200,
    "/": 200,
    "/admin": 200,
    "/docs": 200,
    "/docs/openapi.json": 308,
    "/openapi.json": 200,
}
"""All that is answered without a key, and none of it tells of models, upstreams or traffic."""


async def test_without_a_key_only_probes_and_documents_are_answered(serve: Any, upstream: Upstream) -> None:
    client = await serve(auth={"keys": [key()[1]]}, default_model="slow")
    routes = client._transport.app.routes
    paths = sorted({*OPEN, *(path for route in routes for path in [route.path])})
    answers = {}
    for path in (path.replace("{model:path}", "slow") for path in paths):
        for verb in ("GET", "POST"):
            answer = await client.request(verb, path, json=None if verb == "GET" else body())
            if answer.status_code not in (401, 404, 405):
                answers[path] = answer.status_code
                assert "cohere" not in answer.text or path == "/openapi.json"
    assert answers == OPEN
    assert upstream.calls == []


@pytest.mark.parametrize("path", ["/metrics", "/v1/status"])
async def test_what_is_told_of_the_gateway_takes_a_key_where_there_are_keys(path: str, serve: Any) -> None:
    secret, entry = key()
    client = await serve(auth={"keys": [entry]})
    statuses = [(await client.get(path, headers=headers)).status_code for headers in ({}, {"x-api-key": secret})]
    assert statuses == [401, 200]


async def test_the_health_of_a_named_model_is_no_way_to_guess_names(serve: Any) -> None:
    client = await serve(auth={"keys": [key()[1]]})
    paths = ["/tei/fast/health", "/tei/nope/health"]
    assert [(await client.get(path)).status_code for path in paths] == [401, 401]


async def test_the_callers_key_never_travels_to_an_upstream(serve: Any, upstream: Upstream) -> None:
    secret, entry = key()
    client = await serve(auth={"keys": [entry]})
    answer = await client.post("/v1/rerank", json=body(), headers={"authorization": secret, "x-api-key": secret})
    assert answer.status_code == 200
    [(_, headers, sent)] = upstream.calls
    assert headers["authorization"] == "Bearer upstream-secret"
    assert secret not in str(headers)
    assert secret.encode() not in sent


@pytest.mark.parametrize("auth", [None, "none"], ids=["not written", "none"])
async def test_without_keys_everybody_is_served(auth: Any, serve: Any, upstream: Upstream) -> None:
    client = await serve(auth=auth)
    assert (await client.post("/v1/rerank", json=body())).status_code == 200
