"""Signers: AWS's published vectors, tokens that end by a fake clock, and credentials that cannot be had."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ConnectTimeoutError, NoRegionError
from google.auth import exceptions as google_errors

from gateway.backends.auth import open_signer
from gateway.backends.auth.aws import GOOD_SECONDS, AwsSigner, default_chain
from gateway.backends.auth.google import MARGIN_SECONDS, RENEW_SECONDS, GoogleSigner
from gateway.backends.auth.google import default_chain as google_chain
from gateway.backends.auth.renewal import PAUSE_SECONDS, Lease, Renewal
from gateway.backends.http import HttpBackend, HttpEndpoint
from gateway.transport import open_client
from gateway.transport.base import ClientSettings, Response
from providers.attempts import AttemptCounter
from providers.errors import CredentialsRejected, RerankError, TargetTimeout, Unreachable
from providers.spec import AwsSignature, GoogleToken, HttpProvider
from providers.types import Call, Ranked, Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.shape import Shape, decoder, encoder
from tests.gateway.loopback import loopback, reply

URL = "https://example.amazonaws.com/"
FORM = "application/x-www-form-urlencoded"
SUITE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
# The session token of the suite's post-sts-header-before.
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwt"
    "hAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVX"
    "AkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
# https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html, as recorded in boto/botocore and the SDKs.
VECTORS: dict[str, tuple[str, str, dict[str, str], bytes, str | None, str, str]] = {
    "get-vanilla": (
        *("GET", URL, {}, b"", None, "host;x-amz-date"),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        *("POST", URL, {}, b"", None, "host;x-amz-date"),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-vanilla-query": (
        *("POST", f"{URL}?Param1=value1", {}, b"", None, "host;x-amz-date"),
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    "post-x-www-form-urlencoded": (
        *("POST", URL, {"content-type": FORM}, b"Param1=value1", None, "content-type;host;x-amz-date"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        *("POST", URL, {"content-type": f"{FORM}; charset=utf8"}, b"Param1=value1", None),
        *("content-type;host;x-amz-date", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"),
    ),
    "post-sts-header-before": (
        *("POST", URL, {}, b"", TOKEN, "host;x-amz-date;x-amz-security-token"),
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "headers that proxies may change are not signed": (
        *(
            "POST",
            URL,
            {"accept-encoding": "gzip", "traceparent": "00-1", "x-request-id": "r1", "user-agent": "u"},
            b"",
        ),
        *(None, "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ),
}


class FakeTime:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> FakeTime:
    return FakeTime()


def soon() -> float:
    return time.monotonic() + 20


async def settled(done: Callable[[], bool]) -> None:
    """Until what a thread does has arrived."""
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110  # a thread cannot set an event of the loop's without being told to
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "token", "signed", "signature"), VECTORS.values(), ids=VECTORS
)
async def test_aws_s_published_vectors(
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    token: str | None,
    signed: str,
    signature: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.datetime(2015, 8, 30, 12, 36))
    keys = Credentials(SUITE.access_key, SUITE.secret_key, token)
    signer = AwsSigner(AwsSignature("service", "us-east-1"), lambda: keys)
    added = await signer.sign(method, url, headers, body, soon())
    assert added["authorization"] == f"{SCOPE}, SignedHeaders={signed}, Signature={signature}"
    assert added["x-amz-date"] == "20150830T123600Z"
    assert added.get("x-amz-security-token") == token
    assert not added.keys() & headers.keys()
    assert set(signer.secrets) == {part for part in (SUITE.secret_key, token, SUITE.access_key) if part}


class Chain:
    """AWS credentials that are others after each renewal by botocore."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.asked = 0

    def __call__(self) -> Any:
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.asked += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def keys(name: str) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(name, f"secret of {name}", f"token of {name}")


async def used(signer: AwsSigner) -> str:
    added = await signer.sign("POST", URL, {}, b"", soon())
    return added["authorization"].split("Credential=")[1].split("/")[0]


async def test_temporary_credentials_of_aws_are_renewed_behind_the_requests(now: FakeTime) -> None:
    chain = Chain(keys("first"), keys("second"))
    signer = AwsSigner(AwsSignature("bedrock", "us-west-2"), chain, now)
    assert [await used(signer) for _ in range(3)] == ["first"] * 3
    assert chain.asked == 1
    now.seconds += 61
    assert await used(signer) == "first"
    await settled(lambda: signer.secrets[-1] == "second")
    assert await used(signer) == "second"
    assert chain.asked == 2


async def test_a_metadata_service_that_fails_is_felt_only_when_the_credentials_end(now: FakeTime) -> None:
    chain = Chain(keys("first"), ConnectTimeoutError(endpoint_url="http://169.254.169.254"))
    signer = AwsSigner(AwsSignature("bedrock", "us-west-2"), chain, now)
    assert await used(signer) == "first"
    now.seconds += 61
    assert await used(signer) == "first"
    await settled(lambda: chain.asked == 2)
    now.seconds += GOOD_SECONDS - 62
    assert await used(signer) == "first"
    now.seconds += 2
    with pytest.raises(Unreachable, match=r"credentials of AWS cannot be had \(ConnectTimeoutError\)"):
        await used(signer)


AWS_ENDED = {
    "ended": (403, {"x-amzn-errortype": "ExpiredTokenException"}, True),
    "ended, with a link": (403, {"x-amzn-errortype": "ExpiredTokenException:http://internal.amazon.com/x"}, True),
    "unknown by now": (403, {"x-amzn-errortype": "UnrecognizedClientException"}, True),
    "not allowed": (403, {"x-amzn-errortype": "AccessDeniedException"}, False),
    "without a type": (401, {}, False),
}


@pytest.mark.parametrize(("status", "headers", "again"), AWS_ENDED.values(), ids=AWS_ENDED)
async def test_which_refusals_of_aws_mean_new_credentials(status: int, headers: dict[str, str], again: bool) -> None:
    chain = Chain(keys("first"), keys("second"))
    signer = AwsSigner(AwsSignature("bedrock", "us-west-2"), chain)
    added = await signer.sign("POST", URL, {}, b"", soon())
    assert signer.forget(added, Response(status, headers, b"")) is again
    assert await used(signer) == ("second" if again else "first")


NOT_HAD: dict[str, tuple[Any, type[RerankError], str]] = {
    "none at all": (lambda: None, CredentialsRejected, "no credentials of AWS were found"),
    "a configuration that is wrong": (Chain(NoRegionError()), Unreachable, "NoRegionError"),
    "a file that cannot be read": (Chain(PermissionError("/secret/path")), Unreachable, r"\(PermissionError\)"),
}


@pytest.mark.parametrize(("chain", "error", "told"), NOT_HAD.values(), ids=NOT_HAD)
async def test_credentials_of_aws_that_cannot_be_had(chain: Any, error: type[RerankError], told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        await used(AwsSigner(AwsSignature("bedrock", "us-west-2"), chain))
    assert "/secret" not in raised.value.message


async def test_the_chain_reads_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    assert await used(open_signer(AwsSignature("bedrock", "us-west-2"), None)) == "AKIDENVIRONMENT"
    file = tmp_path / "credentials"
    file.write_text("[team]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = another\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert await used(AwsSigner(AwsSignature("bedrock", "us-west-2", "team"))) == "AKIDPROFILE"


class GoogleCredentials:
    """As google-auth has them: a token for an hour, and the next after a refresh."""

    def __init__(self, now: FakeTime, *failures: Exception | None) -> None:
        self.now, self.failures = now, list(failures)
        self.token, self.expiry, self.refreshed = "", None, 0

    def refresh(self, request: Any) -> None:
        self.refreshed += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.token = f"token-{self.refreshed}"
        self.expiry = datetime.datetime.fromtimestamp(self.now() + 3600, datetime.UTC).replace(tzinfo=None)


def google(now: FakeTime, *failures: Exception | None) -> tuple[GoogleSigner, GoogleCredentials]:
    credentials = GoogleCredentials(now, *failures)
    return GoogleSigner(GoogleToken(), lambda: credentials, lambda: None, now), credentials


async def bearer(signer: GoogleSigner) -> str:
    return (await signer.sign("POST", URL, {}, b"", soon()))["authorization"]


async def test_a_token_is_kept_until_shortly_before_its_end(now: FakeTime) -> None:
    signer, credentials = google(now)
    assert await bearer(signer) == "Bearer token-1"
    now.seconds += 3600 - RENEW_SECONDS - 1
    assert await bearer(signer) == "Bearer token-1"
    assert credentials.refreshed == 1
    now.seconds += 2
    assert await bearer(signer) == "Bearer token-1"
    await settled(lambda: signer.secrets == ["token-2"])
    assert await bearer(signer) == "Bearer token-2"


async def test_a_token_that_ended_is_not_sent(now: FakeTime) -> None:
    signer, _ = google(now)
    await bearer(signer)
    now.seconds += 3600 - MARGIN_SECONDS
    assert await bearer(signer) == "Bearer token-2"


async def test_a_refresh_that_fails_is_tried_again_after_a_pause(
    now: FakeTime, caplog: pytest.LogCaptureFixture
) -> None:
    signer, credentials = google(now, None, google_errors.TransportError("no route to confidential"))
    await bearer(signer)
    now.seconds += 3600 - RENEW_SECONDS
    for _ in range(5):
        assert await bearer(signer) == "Bearer token-1"
        await settled(lambda: "could not be fetched" in caplog.text)
    assert credentials.refreshed == 2
    assert "confidential" not in caplog.text
    now.seconds += PAUSE_SECONDS
    await bearer(signer)
    await settled(lambda: signer.secrets == ["token-3"])


GOOGLE_FAILURES: dict[str, tuple[Exception, type[RerankError]]] = {
    "nothing is configured": (google_errors.DefaultCredentialsError("none"), CredentialsRejected),
    "the account was removed": (google_errors.RefreshError("invalid_grant"), CredentialsRejected),
    "the service has a bad moment": (google_errors.RefreshError("later", retryable=True), Unreachable),
    "the service is not there": (google_errors.TransportError("refused"), Unreachable),
    "a file is not readable": (PermissionError("denied"), Unreachable),
}


@pytest.mark.parametrize(("failure", "error"), GOOGLE_FAILURES.values(), ids=GOOGLE_FAILURES)
async def test_tokens_that_cannot_be_had(failure: Exception, error: type[RerankError], now: FakeTime) -> None:
    signer, _ = google(now, failure)
    with pytest.raises(error, match="of Google Cloud") as raised:
        await bearer(signer)
    assert type(raised.value) is error
    assert await bearer(signer) == "Bearer token-2"


def test_google_s_own_chain_says_that_nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(google_errors.DefaultCredentialsError):
        google_chain(GoogleToken().scope)


class Slow:
    """A service that answers when it is let."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0

    def __call__(self) -> Lease[str]:
        self.asked += 1
        assert self.go.wait(20)
        return Lease("a-token")


async def test_many_requests_wait_for_one_fetch_and_none_beyond_its_deadline() -> None:
    slow = Slow()
    renewal = Renewal(slow, "the token")
    waiting = [asyncio.create_task(renewal.get(soon())) for _ in range(20)]
    with pytest.raises(TargetTimeout, match="the token did not come in time"):
        await renewal.get(time.monotonic() + 0.01)
    waiting[0].cancel()  # Who hangs up does not end what others wait for.
    slow.go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["a-token"] * 19
    assert slow.asked == 1


SHAPE = Shape()
PROVIDER = HttpProvider(
    name="acme",
    base_url=None,
    path="/rerank",
    encode=encoder(SHAPE),
    decode=decoder(SHAPE),
    error_message=error_message,
    fields=frozenset(SHAPE.takes),
    auth=GoogleToken(),
)
RANKING = reply(body=b'{"results": [{"index": 0, "relevance_score": 0.5}]}')
REFUSED = reply(401, b'{"error": {"message": "token-1 has expired"}}')
EXCHANGES = {
    "a token that ended early": ((REFUSED, RANKING), None, ["token-1", "token-2"], None),
    "two in a row": ((REFUSED, REFUSED, RANKING), None, ["token-1", "token-2"], CredentialsRejected),
    "no attempt is left": ((REFUSED, RANKING), 0, ["token-1"], CredentialsRejected),
    "another refusal": ((reply(403, b"{}"), RANKING), None, ["token-1"], CredentialsRejected),
}


@pytest.mark.parametrize(("answers", "left", "tokens", "error"), EXCHANGES.values(), ids=EXCHANGES)
async def test_a_refused_token_is_renewed_once(
    answers: Any, left: int | None, tokens: list[str], error: type[RerankError] | None, now: FakeTime
) -> None:
    signer, _ = google(now)
    counter = AttemptCounter(left) if left is not None else None
    request = RerankRequest(model="m", query="q", documents=["a"], call=Call(id="", attempts=counter))
    client = open_client(ClientSettings(proxy="none"))
    async with loopback(*answers) as server:
        live = HttpBackend(HttpEndpoint(name="acme", provider=PROVIDER, url=server.url), client, signer)
        try:
            if error is None:
                assert await live.rerank(request) == Ranking(results=[Ranked(0, 0.5)])
            else:
                with pytest.raises(error):
                    await live.rerank(request)
        finally:
            await client.aclose()
    assert [sent.header("authorization") for sent in server.exchanges] == [f"Bearer {token}" for token in tokens]


def test_the_default_chain_of_aws_finds_nothing_where_nothing_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert default_chain(None) is None
