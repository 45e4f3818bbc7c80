"""Hostile callers against the running gateway: nothing breaks, nothing leaks, and nothing is steered elsewhere."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from msgspec import Struct, field

from gateway.api.dialects.unified.request import Body
from gateway.server.protocol import MAX_HEAD_BYTES
from tests.gateway.access import servers
from tests.gateway.access.conftest import key

MARKER = "MARKER-of-a-document"
UPSTREAM_SECRET = "upstream-secret-71"
FORGED = "FORGED LOG LINE"

SENT_ON = {
    "host", "content-type", "content-length", "accept", "accept-encoding", "user-agent", "authorization",
    "x-request-id", "x-request-timeout-ms", "traceparent", "tracestate", "baggage",
}  # fmt: skip
"""The only headers that an upstream may see."""

TOLD = {
    "content-type", "content-length", "x-request-id", "retry-after", "connection", "allow",
    "x-gateway-provider", "x-gateway-model", "x-gateway-requested-model", "x-gateway-attempts", "x-gateway-overhead-ms",
}  # fmt: skip
"""The only headers that a caller may see."""


class Seen(Struct):
    """What the real upstream was sent: path, header names in lower case, body."""

    requests: list[tuple[str, set[str], bytes]] = field(default_factory=list)


class World(Struct):
    """A gateway process, the only upstream it knows, and an address that it must never connect to."""

    url: str
    client: httpx.Client
    secret: str
    log: Path
    seen: Seen
    canary: str
    connections: list[str]

    def post(self, path: str, **given: Any) -> httpx.Response:
        headers = [("authorization", f"Bearer {self.secret}"), *given.pop("headers", [])]
        return self.client.post(path, headers=headers, **given)

    def send(self, raw: bytes) -> bytes:
        """The whole answer to these bytes; empty if the gateway just hangs up."""
        address = urlsplit(self.url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=30) as connection:
            answer = b""
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65_536):
                    answer += data
            except OSError:
                return answer
            return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, seen = tmp_path_factory.mktemp("hostile"), Seen()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _upstream(seen))
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    canary, connections = socket.create_server(("127.0.0.1", 0)), list[str]()
    threading.Thread(target=_note, args=(canary, connections), daemon=True).start()
    secret, entry = key()
    provider = {
        "adapter": "vllm",
        "base_url": f"http://127.0.0.1:{upstream.server_port}/base/v1",
        "api_key": UPSTREAM_SECRET,
    }
    tree = {"auth": {"keys": [entry]}, "providers": {"up": provider}, "models": {"alias": {"target": "up/m"}}}
    with servers.gateway(folder, tree) as url:
        client = httpx.Client(base_url=url, trust_env=False, timeout=30)
        yield World(url, client, secret, folder / "log", seen, f"127.0.0.1:{canary.getsockname()[1]}", connections)
        client.close()
    upstream.shutdown()
    upstream.server_close()
    canary.close()


def _upstream(seen: Seen) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.requests.append((self.path, {name.lower() for name in self.headers}, body))
            count = len(json.loads(body).get("documents", [])) or 1
            results = [{"index": index, "relevance_score": 0.5} for index in range(count)]
            answer = json.dumps({"id": "x", "results": results}).encode()
            self.send_response(200)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(answer)),
                "set-cookie": "session=1",
                "location": "http://elsewhere",
                "x-secret": "internal",
                "access-control-allow-origin": "*",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Be quiet."""

    return Handler


def _note(listener: socket.socket, connections: list[str]) -> None:
    while True:
        try:
            connection, address = listener.accept()
        except OSError:
            return
        connections.append(str(address))
        connection.close()


def valid(**fields: Any) -> dict[str, Any]:
    return {"model": "up/m", "query": MARKER, "documents": [MARKER, "b"], **fields}


FIELDS = [
    *Body.__struct_fields__,
    "api_base", "base_url", "api_key", "url", "uri", "endpoint", "host", "proxy", "target", "provider", "adapter",
    "upstream", "headers", "extra_headers", "extra_body", "callback", "webhook", "path", "file", "revision",
    "trust_remote_code", "custom_llm_provider", "litellm_params", "config", "image", "input", "$ref", "__proto__",
]  # fmt: skip

PATHS = [
    "/v1/rerank", "/rerank", "/score", "/cohere/v2/rerank", "/jina/v1/rerank", "/voyage/v1/rerank", "/vllm/rerank",
    "/infinity/rerank", "/tei/rerank",
]  # fmt: skip


def steering(canary: str) -> list[Any]:
    """What might be taken for an address."""
    url = f"http://{canary}/v1"
    return [
        url, f"up/{url}", f"up/m@{canary}", f"//{canary}/", f"up/../{canary}", [url], {"url": url},
        {"content": [{"type": "image_url", "image_url": {"url": url}}]},
        [{"content": [{"type": "image_url", "image_url": {"url": url}}]}], f"file://{canary}/etc/passwd",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_a_request_steers_the_gateway_elsewhere(name: str, world: World) -> None:
    before = len(world.seen.requests)
    for value in steering(world.canary):
        assert world.post("/v1/rerank", json=valid(**{name: value})).status_code < 500
    _went_nowhere_else(world, before)


@pytest.mark.parametrize("path", PATHS)
def test_no_dialect_lets_a_request_steer_the_gateway_elsewhere(path: str, world: World) -> None:
    before = len(world.seen.requests)
    known = {"text_1": "a", "text_2": ["b"], "texts": ["a"], **valid()}
    for value in steering(world.canary):
        unknown = {name: value for name in FIELDS if name not in Body.__struct_fields__}
        assert world.post(path, json={**unknown, **known}).status_code < 500
        assert world.post(path, json={**known, "model": value}).status_code < 500
    _went_nowhere_else(world, before)


HEADERS = [
    "host", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-server", "forwarded", "x-real-ip",
    "x-original-url", "x-rewrite-url", "x-original-host", "x-host", "x-http-host-override", "proxy",
    "proxy-authorization", "via", "referer", "origin", "location", "x-base-url", "x-api-base", "x-upstream",
    "x-target-url", "helicone-target-url", "x-portkey-custom-host", "x-portkey-provider", "x-portkey-forward-headers",
    "x-litellm-api-base", "cf-connecting-ip", "true-client-ip", "x-envoy-original-path", "x-wap-profile", "from",
    "cookie", "x-http-method-override", "connection", "metadata-flavor", "x-aws-ec2-metadata-token", "x-client-name",
]  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_steers_the_gateway_elsewhere_or_travels_on(name: str, world: World) -> None:
    before = len(world.seen.requests)
    for value in (world.canary, f"http://{world.canary}/", f"for={world.canary};host={world.canary}"):
        assert world.post("/v1/rerank", json=valid(), headers=[(name, value)]).status_code < 500
    _went_nowhere_else(world, before)


@pytest.mark.parametrize("verb", ["POST", "GET", "CONNECT"])
def test_a_request_to_a_proxy_is_not_proxied(verb: str, world: World) -> None:
    target = world.canary if verb == "CONNECT" else f"http://{world.canary}/v1/rerank"
    answer = world.send(f"{verb} {target} HTTP/1.1\r\nhost: {world.canary}\r\ncontent-length: 0\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 4\d\d ", answer) or answer == b""
    assert world.connections == []


def _went_nowhere_else(world: World, before: int) -> None:
    assert world.connections == []
    for path, names, _ in world.seen.requests[before:]:
        assert path == "/base/v1/rerank"
        assert names <= SENT_ON, names - SENT_ON


def test_of_an_upstreams_headers_none_reaches_the_caller(world: World) -> None:
    answer = world.post("/v1/rerank", json=valid())
    assert answer.status_code == 200
    assert set(answer.headers) <= TOLD, set(answer.headers) - TOLD


NESTED = b"[" * 200_000
BODIES: dict[str, bytes] = {
    "empty": b"",
    "NUL": b"\x00",
    "CRLF": b"\r\n\r\n",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a lone brace": b"{",
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(valid()).encode(),
    "UTF-16": json.dumps(valid()).encode("utf-16"),
    "deep lists": NESTED,
    "deep lists, closed": NESTED + b"]" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep, below a known field": b'{"documents":' + NESTED,
    "deep, below an unknown field": b'{"unknown":' + NESTED + b"]" * 200_000 + b"}",
    "deep document": json.dumps(valid(documents=[{"text": "a", "meta": "@"}]))
    .encode()
    .replace(b'"@"', b"[" * 900 + b"]" * 900),
    "duplicate keys": b'{"model":"up/m","model":"other/m","query":"q","documents":["a"]}',
    "invalid UTF-8": b'{"model":"up/m","query":"\xff\xfe","documents":["a"]}',
    "overlong UTF-8": b'{"model":"up/m","query":"\xc0\xaf","documents":["a"]}',
    "lone surrogate": b'{"model":"up/m","query":"\\ud800","documents":["\\udfff"]}',
    "lone surrogate in a name": b'{"model":"up/\\ud800","query":"q","documents":["a"]}',
    "escaped NUL": b'{"model":"up/m\\u0000","query":"\\u0000","documents":["\\u0000"]}',
    "line breaks in a name": json.dumps(valid(model=f"up/m\r\n{FORGED}\r\n")).encode(),
    "line breaks in an unknown name": json.dumps(valid(model=f"x\n{FORGED}\n")).encode(),
    "line breaks in a fallback": json.dumps(valid(model="x/y", fallbacks=[f"x\n{FORGED}\n"])).encode(),
    "terminal codes": json.dumps(valid(model="x/\x1b[2J\x1b]0;owned\x07")).encode(),
    "a huge integer": b'{"model":"up/m","query":"q","documents":["a"],"top_n":' + b"9" * 5000 + b"}",
    "a huge exponent": b'{"model":"up/m","query":"q","documents":["a"],"top_n":1e999999}',
    "a negative": json.dumps(valid(top_n=-1)).encode(),
    "a fraction": json.dumps(valid(top_n=1.5)).encode(),
    "NaN": b'{"model":"up/m","query":"q","documents":["a"],"top_n":NaN}',
    "a huge number that is passed on": b'{"model":"up/m","query":"q","documents":["a"],"truncate_prompt_tokens":%s}'
    % (b"9" * 400),
    "__proto__": json.dumps(valid(__proto__={"admin": True}, constructor={"prototype": {}})).encode(),
    "a dunder": b'{"__class__":"os.system","model":"up/m","query":"q","documents":[{"__class__":"x","text":"a"}]}',
    "YAML tags": json.dumps(valid(documents=[{"!!python/object/apply:os.system": ["id"]}])).encode(),
    "a template": json.dumps(valid(model="{{7*7}}${7*7}{0.__class__}%s%n")).encode(),
    "SQL": json.dumps(valid(model="up/m' OR 1=1 --")).encode(),
    "a path": json.dumps(valid(model="up/../../../etc/passwd")).encode(),
    "a long name": json.dumps(valid(model="up/" + "m" * 1_000_000)).encode(),
    "a long unknown name": json.dumps(valid(model="m" * 1_000_000)).encode(),
    "many documents": json.dumps(valid(documents=["a"] * 50_000)).encode(),
    "blank documents": json.dumps(valid(documents=["\u200b", "\u2028", " "])).encode(),
    "documents of every kind": json.dumps(valid(documents=[1, None, True, {}, [], "a"])).encode(),
    "many keys": json.dumps(valid(**{f"k{n}": n for n in range(50_000)})).encode(),
}


@pytest.mark.parametrize("path", ["/v1/rerank", "/cohere/v2/rerank", "/tei/rerank", "/score"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_no_body_breaks_the_gateway(body: bytes, path: str, world: World) -> None:
    answer = world.post(path, content=body, headers=[("content-type", "application/json")])
    assert answer.status_code < 500, answer.text[:300]
    assert len(answer.content) < 4_000_000
    if answer.status_code >= 400:
        json.loads(answer.content)
        assert len(answer.content) < 8_000
    _tells_nothing(answer.text, world)


LONG = b"a" * 1_000_000
HEADS: dict[str, bytes] = {
    "NUL in a value": b"x-request-id: a\x00b",
    "NUL in a name": b"x-re\x00quest: a",
    "a bare CR": b"x-request-id: a\rset-cookie: b",
    "a bare LF": b"x-request-id: a\nset-cookie: b",
    "a folded line": b"x-request-id: a\r\n b",
    "a name with a space": b"x request: a",
    "no colon": b"nonsense",
    "a forged log line": b'x-request-id: a"}{"level":"error","message":"' + FORGED.encode() + b'"}',
    "escaped line breaks": b"x-request-id: a%0d%0aset-cookie:%20b",
    "not ASCII": b"x-request-id: \xff\xfe\xc3\xa4",
    "1 MB value": b"x-long: " + LONG,
    "1 MB name": LONG + b": a",
    "1 MB of headers": b"\r\n".join(b"x-%d: %s" % (number, b"b" * 1000) for number in range(1000)),
    "1 MB key": b"authorization: Bearer " + LONG,
    "1 MB key of its own": b"x-api-key: " + LONG,
    "two keys": b"authorization: Bearer a\r\nauthorization: Bearer b",
    "a key that is not ASCII": b"authorization: Bearer \xff\xfe",
    "another scheme": b"authorization: Basic dXNlcjpwYXNz",
    "an empty scheme": b"authorization: ",
    "two lengths": b"content-length: 5\r\ncontent-length: 6",
    "a negative length": b"content-length: -1",
    "a huge length": b"content-length: 99999999999999999999999",
    "length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked",
    "unknown coding": b"transfer-encoding: evil",
    "bad chunks": b"transfer-encoding: chunked\r\n\r\nZZZ\r\n",
    "unknown compression": b"content-encoding: evil",
    "an upgrade": b"connection: upgrade\r\nupgrade: websocket",
    "an upgrade to h2c": b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    "a trace": b"traceparent: 00-zzzz\r\ntracestate: " + b"a=b," * 1000,
    "baggage": b"baggage: " + b"k=v," * 2000,
    "a charset": b"content-type: application/json; charset=utf-7",
    "form data": b"content-type: multipart/form-data; boundary=x",
    "a range": b"range: bytes=0-18446744073709551615",
}

TARGETS: dict[str, bytes] = {
    "not ASCII": b"/v1/\xff\xfe",
    "escapes": b"/v1/%00%0d%0aset-cookie:%20a",
    "bad escapes": b"/%zz%",
    "up and away": b"/docs-assets/../../../../etc/passwd",
    "up and away, escaped": b"/docs-assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "an absolute path below the assets": b"/docs-assets//etc/passwd",
    "1 MB": b"/" + LONG,
    "a model's path": b"/tei/%2e%2e%2f%2e%2e",
    "no slash": b"v1/rerank",
    "a query": b"/v1/usage?first=%ff&last='&key=%00",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_no_header_breaks_the_gateway(head: bytes, world: World) -> None:
    _survives(world, b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\n")
    body = json.dumps(valid()).encode()
    login = f"x-api-key: {world.secret}\r\ncontent-length: {len(body)}".encode()
    _survives(world, b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\n" + login + b"\r\n" + head + b"\r\n\r\n" + body)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@pytest.mark.parametrize("verb", [b"GET", b"POST"], ids=["GET", "POST"])
def test_no_path_breaks_the_gateway(verb: bytes, target: bytes, world: World) -> None:
    login = b"x-api-key: " + world.secret.encode()
    _survives(world, verb + b" " + target + b" HTTP/1.1\r\nhost: x\r\n" + login + b"\r\ncontent-length: 0\r\n\r\n")


def _survives(world: World, raw: bytes) -> None:
    answer = world.send(raw)
    statuses = re.findall(rb"HTTP/1\.1 (\d{3})", answer)
    # 501 and 505 are what RFC 9110 wants for a transfer coding or a version that is not served.
    assert all(status < b"500" or status in {b"501", b"505"} for status in statuses), answer[:500]
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()
    assert b"root:" not in answer
    _tells_nothing(answer.decode("latin-1"), world)
    assert world.client.get("/livez").status_code == 200


def test_a_head_that_is_too_long_is_431(world: World) -> None:
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"b" * 1000) for number in range(5 * MAX_HEAD_BYTES // 1000))
    answer = world.send(b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\n" + lines)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def _tells_nothing(text: str, world: World) -> None:
    for secret in (world.secret, UPSTREAM_SECRET, "Traceback", "/site-packages/", 'File "'):
        assert secret not in text


def test_the_log_holds_no_secret_no_document_and_no_forged_line(world: World) -> None:
    """Runs last in this module: it reads what all the others have caused."""
    log = world.log.read_text("utf-8", "replace")
    assert log, "requests are logged"
    for secret in (world.secret, UPSTREAM_SECRET, MARKER, "Traceback"):
        assert secret not in log, secret
    assert [line for line in log.splitlines() if line.startswith(FORGED)] == []
    assert "\x1b" not in log
    assert world.connections == []
