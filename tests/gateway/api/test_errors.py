"""Every answer that is not a 2xx: its status, its sentence, and the one shape that all known clients can read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway import errors as gateway_errors
from gateway.api.error_status import STATUS, status_of
from gateway.api.errors import headers
from providers import errors
from providers.errors import RerankError

KEY = "sk-very-secret"
ASKED: dict[str, Any] = {"model": "cohere/m", "query": "a secret question", "documents": ["a secret document"]}
ONCE = {"retries": 0}
STRINGS = ("message", "detail", "error", "error_type", "id")


@pytest.fixture
async def gateway(opened, upstream) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await opened(
        {
            "providers": {
                "cohere": {"base_url": upstream.url, "api_key": KEY, "retry": ONCE},
                "voyage": {"base_url": upstream.url},
                "mixedbread": {"base_url": upstream.url, "api_key": "k"},
                "slow": {"adapter": "cohere", "base_url": upstream.url, "timeout": 0.05, "retry": ONCE},
                "gone": {"adapter": "cohere", "base_url": "http://127.0.0.1:9", "retry": ONCE},
                "nameless": {"adapter": "cohere", "base_url": "http://no.such.host.invalid", "retry": ONCE},
            }
        }
    )
    return client


def checked(response: httpx.Response) -> dict[str, Any]:
    """The body, after what holds for every error."""
    assert response.headers["content-type"] == "application/json"
    reply: dict[str, Any] = response.json()
    assert list(reply) == [*STRINGS, "extra_fields"]
    assert all(isinstance(reply[name], str) and reply[name] for name in STRINGS)
    assert reply["message"] == reply["detail"] == reply["error"]
    assert reply["id"] == response.headers["x-request-id"]
    assert reply["extra_fields"]["request_type"] == "rerank"
    assert KEY not in response.text
    return reply


def every_class(root: type[RerankError]) -> list[type[RerankError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in every_class(child))]


CLASSES: dict[type[RerankError], tuple[int, str]] = {
    errors.RerankError: (500, "rerank_error"),
    errors.CallerError: (400, "invalid_request"),
    errors.InvalidRequest: (400, "invalid_request"),
    errors.Unsupported: (400, "unsupported"),
    gateway_errors.UnknownModel: (404, "unknown_model"),
    errors.Unreachable: (502, "upstream_unreachable"),
    errors.TargetTimeout: (504, "upstream_timeout"),
    errors.BadAnswer: (502, "upstream_bad_answer"),
    errors.AnswerTooLarge: (502, "upstream_bad_answer"),
    errors.CredentialsRejected: (502, "upstream_credentials"),
    errors.RateLimited: (429, "rate_limited"),
    errors.TargetFailed: (502, "upstream_error"),
    errors.Overloaded: (429, "overloaded"),
    errors.NotReady: (503, "not_ready"),
    errors.TooLong: (413, "upstream_rejected"),
}


@pytest.mark.parametrize(("kind", "expected"), CLASSES.items(), ids=[kind.__name__ for kind in CLASSES])
def test_every_class_has_a_status_and_a_word_for_machines(kind: type[RerankError], expected: tuple[int, str]) -> None:
    assert (status_of(kind("why")), kind.code) == expected


def test_no_class_is_without_a_status_in_the_range_of_errors() -> None:
    for kind in every_class(RerankError):
        if kind.__module__.startswith("gateway.cli"):
            continue  # The command line's own, which no caller of the gateway gets.
        assert 400 <= status_of(kind("why")) < 600, kind
    assert set(STATUS) <= set(every_class(RerankError))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, {}), (0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")]
)
def test_retry_after_is_whole_seconds_and_never_none_at_all(seconds, expected) -> None:
    told = headers(errors.RateLimited("slow down", retry_after=seconds))
    assert told == (expected or {} if seconds is None else {"retry-after": expected})


COHERE = {"id": "x", "message": "the vendor's words"}
FASTAPI = {"detail": [{"loc": ["body", "query"], "msg": "Field required", "type": "missing"}]}
HTML = b"<html><body>502 Bad Gateway</body></html>"

# What the vendor answers: status, body → what the caller gets: status, error_type, sentence.
ANSWERED: dict[str, tuple[int, Any, int, str, str]] = {
    "400 with a message": (400, COHERE, 400, "upstream_rejected", "the vendor's words"),
    "400 as FastAPI writes it": (400, FASTAPI, 400, "upstream_rejected", "body.query: Field required"),
    "400 as vLLM writes it": (400, {"error": {"message": "m", "code": 400}}, 400, "upstream_rejected", "m"),
    "400 as TEI writes it": (400, {"error": "m", "error_type": "Validation"}, 400, "upstream_rejected", "m"),
    "400 with HTML": (400, HTML, 400, "upstream_rejected", 'provider "cohere" answered 400 Bad Request'),
    "400 with nothing": (400, b"", 400, "upstream_rejected", 'provider "cohere" answered 400 Bad Request'),
    "404": (404, COHERE, 404, "upstream_rejected", "the vendor's words"),
    "404 with HTML": (404, HTML, 404, "upstream_rejected", 'provider "cohere" answered 404 Not Found'),
    "413": (413, COHERE, 413, "upstream_rejected", "the vendor's words"),
    "422": (422, FASTAPI, 422, "upstream_rejected", "body.query: Field required"),
    "401": (401, {"message": f"invalid api token {KEY}"}, 502, "upstream_credentials", "(401 Unauthorized); check"),
    "402": (402, COHERE, 502, "upstream_credentials", "refused the gateway's own credentials or account (402"),
    "403": (403, HTML, 502, "upstream_credentials", 'check the api_key configured for "cohere"'),
    "405": (405, COHERE, 502, "upstream_error", "failed with status 405 Method Not Allowed: the vendor's words"),
    "409": (409, COHERE, 502, "upstream_error", "failed with status 409 Conflict"),
    "429": (429, COHERE, 429, "rate_limited", "the vendor's words"),
    "429 with nothing": (429, b"", 429, "rate_limited", 'provider "cohere" asks for fewer calls'),
    "301": (301, b"", 502, "upstream_error", "answered with a redirect (301), which is not followed"),
    "500": (500, COHERE, 502, "upstream_error", "failed with status 500 Internal Server Error: the vendor's words"),
    "500 with HTML": (500, HTML, 502, "upstream_error", "failed with status 500 Internal Server Error"),
    "502": (502, HTML, 502, "upstream_error", "failed with status 502 Bad Gateway"),
    "503": (503, COHERE, 503, "upstream_error", "failed with status 503 Service Unavailable: the vendor's words"),
    "504": (504, HTML, 504, "upstream_error", "failed with status 504 Gateway Timeout"),
    "a status nobody knows": (599, b"", 502, "upstream_error", "failed with status 599"),
    "our key in the text": (400, {"message": f"key {KEY} is odd"}, 400, "upstream_rejected", "key *** is odd"),
    "lines in the text": (400, {"message": "a\r\nb\x1b[31m"}, 400, "upstream_rejected", "a b [31m"),
}


@pytest.mark.parametrize(("status", "body", "expected", "kind", "sentence"), ANSWERED.values(), ids=ANSWERED)
async def test_the_vendors_refusal_reaches_the_caller(
    gateway, upstream, status, body, expected, kind, sentence
) -> None:
    upstream.reply_with(status, body)
    response = await gateway.post("/v1/rerank", json=ASKED)
    reply = checked(response)
    assert (response.status_code, reply["error_type"]) == (expected, kind)
    assert sentence in reply["message"]
    (attempt,) = reply["extra_fields"]["attempts"]
    assert (attempt["provider"], attempt["model"], attempt["status"]) == ("cohere", "m", status)
    assert reply["extra_fields"]["provider"] == "cohere"
    assert reply["extra_fields"]["original_model_requested"] == "cohere/m"


def test_the_table_of_answers_holds_every_status_that_upstreams_use() -> None:
    statuses = {status for status, *_ in ANSWERED.values()}
    assert statuses >= {400, 401, 402, 403, 404, 405, 413, 422, 429, 500, 502, 503, 504}


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        pytest.param(429, {"retry-after": "7"}, "7", id="seconds"),
        pytest.param(429, {"retry-after": "0"}, "1", id="no time at all"),
        pytest.param(429, {"retry-after-ms": "1500"}, "2", id="milliseconds"),
        pytest.param(429, {"x-ratelimit-reset": "3"}, "3", id="a reset"),
        pytest.param(429, {"retry-after": "soon"}, None, id="words"),
        pytest.param(429, {}, None, id="nothing"),
        pytest.param(503, {"retry-after": "9"}, "9", id="a busy server"),
        pytest.param(400, {"retry-after": "9"}, None, id="a refusal that waiting does not help"),
    ],
)
async def test_the_wait_that_the_vendor_asks_for_is_passed_on(gateway, upstream, status, header, expected) -> None:
    upstream.reply_with(status, COHERE, header)
    response = await gateway.post("/v1/rerank", json=ASKED)
    checked(response)
    assert response.headers.get("retry-after") == expected


RUBBISH: dict[str, tuple[Any, str]] = {
    "not JSON": (HTML, 'provider "cohere" gave an unusable answer'),
    "nothing": (b"", 'provider "cohere" gave an unusable answer'),
    "cut short": (b'{"results": [', 'provider "cohere" gave an unusable answer'),
    "a list": ([], "gave an unusable answer: Expected `object`, got `array`"),
    "no results": ({"id": "x"}, "gave an unusable answer: Object missing required field `results`"),
    "an empty list": ({"results": []}, "the answer has no results"),
    "no score": ({"results": [{"index": 0}]}, "missing required field `relevance_score`"),
    "a score as text": ({"results": [{"index": 0, "relevance_score": "high"}]}, "unusable answer"),
    "NaN": (b'{"results": [{"index": 0, "relevance_score": NaN}]}', "gave an unusable answer"),
    "beyond every number": (b'{"results": [{"index": 0, "relevance_score": 1e999}]}', "unusable answer"),
    "no index": ({"results": [{"relevance_score": 1}]}, "missing required field `index`"),
    "an index as text": ({"results": [{"index": "first", "relevance_score": 1}]}, "unusable answer"),
    "an index below": ({"results": [{"index": -1, "relevance_score": 1}]}, "has index -1, but there are 1 documents"),
    "an index beyond": ({"results": [{"index": 1, "relevance_score": 1}]}, "has index 1, but there are 1 documents"),
    "an index twice": (
        {"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 0}]},
        "has index 0 twice",
    ),
    "too deep": (b'{"results": ' + b"[" * 200_000, "unusable answer"),
}


@pytest.mark.parametrize(("body", "sentence"), RUBBISH.values(), ids=RUBBISH)
async def test_a_200_that_is_rubbish_is_a_failure_of_the_vendor(gateway, upstream, body, sentence) -> None:
    upstream.reply_with(200, body)
    response = await gateway.post("/v1/rerank", json=ASKED)
    reply = checked(response)
    assert (response.status_code, reply["error_type"]) == (502, "upstream_bad_answer")
    assert sentence in reply["message"] or "too deeply" in reply["message"], reply["message"]
    assert len(reply["extra_fields"]["attempts"]) == 1


UNREACHED: dict[str, tuple[str, int, str, str]] = {
    "nobody listens": ("gone/m", 502, "upstream_unreachable", "could not connect to 127.0.0.1:9"),
    "no such name": ("nameless/m", 502, "upstream_unreachable", "the name of no.such.host.invalid could not be"),
    "too slow": ("slow/m", 504, "upstream_timeout", "within 0.05 s"),
}


@pytest.mark.parametrize(("model", "status", "kind", "sentence"), UNREACHED.values(), ids=UNREACHED)
async def test_a_vendor_that_gives_no_answer(gateway, upstream, model, status, kind, sentence) -> None:
    upstream.hold()
    response = await gateway.post("/v1/rerank", json={**ASKED, "model": model})
    reply = checked(response)
    assert (response.status_code, reply["error_type"]) == (status, kind)
    assert sentence in reply["message"] or "0.05 s" in reply["message"], reply["message"]
    assert "status" not in reply["extra_fields"]["attempts"][0]


OURS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "unknown provider": (
        {"model": "coher/m"},
        404,
        "unknown_model",
        'unknown model "coher/m"; did you mean "cohere/m"?',
    ),
    "unknown name": (
        {"model": "nothing-like-it"},
        404,
        "unknown_model",
        'unknown model "nothing-like-it"; write provider/model',
    ),
    "no query": ({"query": " "}, 400, "invalid_request", "query is required for rerank"),
    "no documents": ({"documents": []}, 400, "invalid_request", "documents are required for rerank"),
    "top_n": ({"top_n": 0}, 400, "invalid_request", "top_n must be at least 1"),
    "content parts to who reads text only": (
        {"query": {"content": [{"type": "text", "text": "q"}]}},
        400,
        "unsupported",
        'model "m" of provider "cohere" ranks text only; send the query and documents as text',
    ),
    "too many documents": (
        {"model": "mixedbread/m", "documents": ["d"] * 1001},
        413,
        "upstream_rejected",
        'provider "mixedbread" takes at most 1000 documents per call, this one has 1001; send fewer '
        '(or set providers.mixedbread.capabilities."m".scoring to pointwise, if it is)',
    ),
}


@pytest.mark.parametrize(("changes", "status", "kind", "sentence"), OURS.values(), ids=OURS)
async def test_what_the_gateway_itself_refuses(gateway, upstream, changes, status, kind, sentence) -> None:
    response = await gateway.post("/v1/rerank", json={**ASKED, **changes})
    reply = checked(response)
    assert (response.status_code, reply["error_type"], reply["message"]) == (status, kind, sentence)
    assert upstream.requests == []


async def test_no_text_of_query_or_documents_is_in_an_error(gateway, upstream) -> None:
    upstream.reply_with(500, b"")
    for changes in ({}, {"model": "x/y"}, {"top_n": 0}, {"documents": ["a secret document", 5]}):
        text = (await gateway.post("/v1/rerank", json={**ASKED, **changes})).text
        assert "secret" not in text


FRAMEWORK: dict[str, tuple[str, str, int, str]] = {
    "an unknown path": ("GET", "/nope", 404, "not_found"),
    "an unknown path below v1": ("POST", "/v1/embeddings", 404, "not_found"),
    "below the rerank route": ("POST", "/v1/rerank/x", 404, "not_found"),
    "GET of the rerank route": ("GET", "/v1/rerank", 405, "method_not_allowed"),
    "PUT of the rerank route": ("PUT", "/rerank", 405, "method_not_allowed"),
    "DELETE of the rerank route": ("DELETE", "/v2/rerank", 405, "method_not_allowed"),
    "OPTIONS of the rerank route": ("OPTIONS", "/v1/rerank", 405, "method_not_allowed"),
    "an unknown method": ("BREW", "/v1/rerank", 405, "method_not_allowed"),
    "POST to the models": ("POST", "/v1/models", 405, "method_not_allowed"),
    "POST to a probe": ("POST", "/readyz", 405, "method_not_allowed"),
    "PUT of the page": ("PUT", "/docs", 405, "method_not_allowed"),
    "an unknown page": ("GET", "/docs/nope", 404, "not_found"),
    "an unknown asset": ("GET", "/docs-assets/nope.js", 404, "not_found"),
    "an asset outside": ("GET", "/docs-assets/..%2f..%2fpyproject.toml", 404, "not_found"),
    "a path that is not UTF-8": ("GET", "/%ff%fe", 404, "not_found"),
    "a path with a null": ("GET", "/v1/%00", 404, "not_found"),
    "a path without end": ("GET", "/" + "a" * 8000, 404, "not_found"),
}


@pytest.mark.parametrize(("method", "path", "status", "kind"), FRAMEWORK.values(), ids=FRAMEWORK)
async def test_the_frameworks_own_errors_have_our_shape(gateway, method, path, status, kind) -> None:
    response = await gateway.request(method, path, headers={"x-request-id": "mine"})
    reply = checked(response)
    assert (response.status_code, reply["error_type"]) == (status, kind)
    assert response.headers["x-request-id"] == "mine"
    assert (status != 405) or response.headers["allow"]


async def test_a_fault_of_ours_says_no_more_than_that(gateway, upstream, monkeypatch, caplog) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("gateway.api.dialects.unified.answer.encode", explode)
    response = await gateway.post("/v1/rerank", json=ASKED)
    reply = checked(response)
    assert (response.status_code, reply["message"], reply["error_type"]) == (500, "internal error", "internal_error")
    assert "ZeroDivisionError: secret detail" in caplog.text


async def test_a_fault_of_ours_in_another_route_says_no_more_than_that(gateway, monkeypatch, caplog) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("gateway.routing.routes.Routes.names", explode)
    response = await gateway.get("/v1/models")
    reply = checked(response)
    assert (response.status_code, reply["message"], reply["error_type"]) == (500, "internal error", "internal_error")
    assert "ZeroDivisionError: secret detail" in caplog.text


async def test_a_fault_in_an_adapter_falls_back(opened, upstream, monkeypatch, caplog) -> None:
    from providers.adapters import cohere

    def explode(request: Any) -> Any:
        raise ZeroDivisionError

    broken = cohere.PROVIDER.__class__(
        **{name: getattr(cohere.PROVIDER, name) for name in cohere.PROVIDER.__struct_fields__} | {"encode": explode}
    )
    monkeypatch.setattr("providers.adapters.cohere.PROVIDER", broken)
    gateway = await opened({"providers": {"cohere": {"base_url": upstream.url}, "vllm": {"base_url": upstream.url}}})
    response = await gateway.post("/v1/rerank", json={**ASKED, "fallbacks": ["vllm/m"]})
    assert response.status_code == 200
    assert response.json()["extra_fields"]["attempts"][0]["error"] == "internal error"
    assert "ZeroDivisionError" in caplog.text
