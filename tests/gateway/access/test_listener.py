"""The listener: TLS, the operators' address, the names it answers to, browsers."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from gateway import __main__ as command_line
from gateway.errors import ConfigError
from tests.gateway.access import servers
from tests.gateway.access.conftest import Upstream, body, config, key
from tests.ports import free_port

HOSTS: dict[str, tuple[list[tuple[bytes, bytes]], bool]] = {
    "exact": ([(b"host", b"rerank.example.com")], True),
    "with a port": ([(b"host", b"rerank.example.com:8080")], True),
    "in upper case": ([(b"host", b"RERANK.example.com")], True),
    "below a star": ([(b"host", b"a.b.example.org")], True),
    "the star's own name": ([(b"host", b"example.org")], False),
    "an ending that only looks like it": ([(b"host", b"evilexample.org")], False),
    "a name that begins like it": ([(b"host", b"rerank.example.com.evil.net")], False),
    "another": ([(b"host", b"evil.net")], False),
    "an address": ([(b"host", b"169.254.169.254")], False),
    "none": ([], False),
    "two": ([(b"host", b"rerank.example.com"), (b"host", b"evil.net")], False),
    "user": ([(b"host", b"rerank.example.com@evil.net")], False),
    "not ASCII": ([(b"host", b"\xff")], False),
}


@pytest.mark.parametrize(("headers", "allowed"), HOSTS.values(), ids=HOSTS.keys())
async def test_only_the_named_hosts_are_answered(
    headers: list[tuple[bytes, bytes]], allowed: bool, serve: Any, upstream: Upstream
) -> None:
    client = await serve(server={"allowed_hosts": ["rerank.example.com", "*.example.org"]})
    request = client.build_request("POST", "/v1/rerank", json=body())
    request.headers = httpx.Headers([*headers, (b"content-type", b"application/json")])
    answer = await client.send(request)
    assert answer.status_code == (200 if allowed else 421)
    assert len(upstream.calls) == int(allowed)
    assert "evil" not in answer.text


async def test_probes_are_answered_under_any_host(serve: Any) -> None:
    client = await serve(server={"allowed_hosts": ["rerank.example.com"]})
    assert (await client.get("/livez", headers={"host": "10.0.0.1"})).status_code == 200


ORIGINS = {
    "no origin is allowed by default": ([], "https://app.example.com", None),
    "the named one": (["https://app.example.com"], "https://app.example.com", "https://app.example.com"),
    "another": (["https://app.example.com"], "https://evil.net", None),
    "a longer one": (["https://app.example.com"], "https://app.example.com.evil.net", None),
    "a dot is a dot": (["https://app.example.com"], "https://appxexample.com", None),
    "null": (["https://app.example.com"], "null", None),
}


@pytest.mark.parametrize(("allowed", "origin", "expected"), ORIGINS.values(), ids=ORIGINS.keys())
@pytest.mark.parametrize("verb", ["POST", "OPTIONS"])
async def test_browsers_may_call_from_the_named_origins_only(
    verb: str, allowed: list[str], origin: str, expected: str | None, serve: Any, upstream: Upstream
) -> None:
    client = await serve(server={"cors": allowed})
    headers = {"origin": origin, "access-control-request-method": "POST"}
    answer = await client.request(verb, "/v1/rerank", json=body(), headers=headers)
    assert answer.headers.get("access-control-allow-origin") == expected
    assert "access-control-allow-credentials" not in answer.headers


SERVED = {"providers": {"passthrough": {}}}
"""Something to serve, without which no file is taken."""

PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "a URL for a host": ({"allowed_hosts": ["https://x"]}, "server.allowed_hosts"),
    "a port with a host": ({"allowed_hosts": ["x:80"]}, "server.allowed_hosts"),
    "any host": ({"allowed_hosts": ["*"]}, "server.allowed_hosts"),
    "a star amid a host": ({"allowed_hosts": ["a.*.b"]}, "server.allowed_hosts"),
    "any origin": ({"cors": ["*"]}, "server.cors"),
    "an origin with a path": ({"cors": ["https://a/b"]}, "server.cors"),
    "admin without a port": ({"admin": {}}, "server.admin.port"),
}


@pytest.mark.parametrize(("server", "expected"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_problem_of_the_listener_is_told(server: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(server=server)
    assert expected in str(refused.value)


@pytest.mark.parametrize(("host", "auth"), [("0.0.0.0", None), ("::", None)])
def test_an_open_operators_address_takes_a_word_about_keys_too(
    host: str, auth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({**SERVED, "server": {"admin": {"host": host, "port": 9}}}))
    assert command_line.main(["check", str(path)]) == 1
    assert "auth: none" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check"])
def test_operators_and_callers_cannot_share_a_port(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The port is what tells them apart: two addresses with the same one would make every caller an operator."""
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({**SERVED, "server": {"host": "127.0.0.2", "port": 9, "admin": {"port": 9}}}))
    assert command_line.main([command, *(["--config"] if command == "serve" else []), str(path)]) == 1
    assert "server.admin.port: is 9, the same as server.port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "cannot be read: No such file or directory"), ("no certificate", "holds no certificate in PEM form")],
    ids=["absent", "not a certificate"],
)
def test_a_certificate_that_cannot_be_used_is_told_before_the_port_opens(
    text: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, certificate = tmp_path / "gateway.yaml", tmp_path / "cert.pem"
    if text:
        certificate.write_text(text)
    path.write_text(yaml.safe_dump({"server": {"tls": {"cert": str(certificate)}}}))
    assert command_line.main(["serve", "--config", str(path), "--port", "0"]) == 1
    assert f'server.tls.cert: "{certificate}" {problem}' in capsys.readouterr().err


def test_tls_is_served_and_a_client_certificate_demanded_where_configured(tmp_path: Path) -> None:
    authority, strangers = trustme.CA(), trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = {"cert": str(tmp_path / "server.pem"), "client_ca": str(tmp_path / "ca.pem")}
    with servers.gateway(tmp_path, {"server": {"tls": tls}}) as url:
        assert url.startswith("https://127.0.0.1:")
        known, unknown, none = (_trusting(authority) for _ in range(3))
        authority.issue_cert("caller").configure_cert(known)
        strangers.issue_cert("caller").configure_cert(unknown)
        assert httpx.get(f"{url}/livez", verify=known, trust_env=False).status_code == 200
        for context in (unknown, none):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                httpx.get(f"{url}/livez", verify=context, trust_env=False)


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_others_usage_is_shown_at_the_operators_address_only(tmp_path: Path) -> None:
    secret, entry = key(admin=True)
    port = free_port()
    tree = {"server": {"admin": {"port": port}}, "auth": {"keys": [entry]}}
    headers = {"authorization": f"Bearer {secret}", "host": f"127.0.0.1:{port}"}
    with servers.gateway(tmp_path, json.loads(json.dumps(tree))) as url:
        answers = [
            httpx.get(f"{base}/v1/usage", params=query, headers=headers, trust_env=False).status_code
            for base in (url, f"http://127.0.0.1:{port}")
            for query in ({}, {"key": "*"})
        ]
        scraped = [
            httpx.get(f"{base}/metrics", trust_env=False).status_code for base in (url, f"http://127.0.0.1:{port}")
        ]
    assert answers == [200, 403, 200, 200]
    assert scraped == [404, 200], "a scraper at the operators' own address needs no key"
