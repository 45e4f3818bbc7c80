"""The startup message: the line to paste works as it stands, with keys, TLS and an operators' address."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.loader import from_tree
from gateway.server.banner import ready_message
from tests.ports import free_port

KEY = "rgw_a-key-of-the-tests"
AUTH = {"keys": [{"name": "team", "hash": "sha256:" + sha256(KEY.encode()).hexdigest()}]}
PASSTHROUGH: dict[str, Any] = {"providers": {"passthrough": {}}, "models": {"order": {"target": "passthrough/order"}}}
AS_ON_A_TERMINAL: dict[str, Any] = {**PASSTHROUGH, "telemetry": {"logs": {"format": "text"}}}
"""Standard output and standard error of the tests' processes are one, where JSON lines would leave no room for text."""
KEY_HEADER = '-H "authorization: Bearer $RERANK_GATEWAY_KEY"'

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")

MESSAGES: dict[str, tuple[str, dict[str, Any], list[str], list[str]]] = {
    "no key": ("http://127.0.0.1:8080", PASSTHROUGH, ["Try it:"], ["authorization", "--insecure", "--cert", "admin:"]),
    "auth: none": ("http://127.0.0.1:8080", {**PASSTHROUGH, "auth": "none"}, ["Try it:"], ["authorization"]),
    "keys": (
        "http://127.0.0.1:8080",
        {**PASSTHROUGH, "auth": AUTH},
        ["Try it with one of your keys in RERANK_GATEWAY_KEY:", KEY_HEADER],
        ["rgw_", "replace"],
    ),
    "keys, and a model to choose": (
        "http://127.0.0.1:8080",
        {"providers": {"vllm": {"base_url": "http://vllm:8000"}}, "auth": AUTH},
        ["Try it with one of your keys in RERANK_GATEWAY_KEY; replace MODEL by one of vllm's models:", KEY_HEADER],
        [],
    ),
    "TLS on this machine": (
        "https://127.0.0.1:8443",
        {**PASSTHROUGH, "server": {"tls": {"cert": "c.pem"}}},
        ["curl -s --insecure https://127.0.0.1:8443/v1/rerank"],
        ["--cert"],
    ),
    "TLS under a name": (
        "https://rerank.example.com:8443",
        {**PASSTHROUGH, "server": {"tls": {"cert": "c.pem"}}},
        ["curl -s https://rerank.example.com:8443/v1/rerank"],
        ["--insecure"],
    ),
    "hosts without this one": (
        "http://127.0.0.1:8080",
        {**PASSTHROUGH, "server": {"allowed_hosts": ["*.example.com"]}},
        ["-H 'host: rerank.example.com'"],
        [],
    ),
    "hosts with this one": (
        "http://[::1]:8080",
        {**PASSTHROUGH, "server": {"allowed_hosts": ["example.com", "[::1]"]}},
        [],
        ["host:"],
    ),
    "certificates of callers": (
        "https://[::1]:8443",
        {**PASSTHROUGH, "auth": AUTH, "server": {"tls": {"cert": "c.pem", "client_ca": "ca.pem"}}},
        [
            "replace client.pem by your certificate and its key:",
            "--insecure --cert client.pem https://[::1]:8443/",
            KEY_HEADER,
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_example_has_what_callers_need(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, tree, present, absent = MESSAGES[name]
    authority = trustme.CA()
    authority.issue_cert("rerank.example.com").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "c.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.chdir(tmp_path)
    message = ready_message(url, from_tree(tree))
    assert [text for text in present if text not in message] == []
    assert [text for text in absent if text in message] == []


def paste(output: str, cwd: Path) -> dict[str, Any]:
    """The answer to the line of the banner, in a shell with a key."""
    (line,) = re.findall(r"^curl .*$", output, re.M)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env={**os.environ, "RERANK_GATEWAY_KEY": KEY},
        capture_output=True,
        check=True,
        timeout=30,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@needs_curl
@pytest.mark.parametrize(
    "secured", ["nothing", "keys", "hosts", "keys and TLS", "keys, TLS and certificates of callers"]
)
def test_the_example_works_as_pasted(start_ready: Callable[..., Any], tmp_path: Path, secured: str) -> None:
    authority = trustme.CA()
    authority.issue_cert("rerank.example.com").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "server.pem")
    )
    authority.issue_cert("caller").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls: dict[str, Any] = {"cert": str(tmp_path / "server.pem")}
    if "certificates" in secured:
        tls["client_ca"] = str(tmp_path / "ca.pem")
    settings = {
        **AS_ON_A_TERMINAL,
        **({"auth": AUTH} if "keys" in secured else {}),
        "server": {
            **({"tls": tls} if "TLS" in secured else {}),
            **({"allowed_hosts": ["*.example.com"]} if "hosts" in secured else {}),
        },
    }
    gateway = start_ready(settings)
    gateway.wait_for("curl -s")
    assert len(paste(gateway.output, tmp_path)["results"]) == 3
    assert gateway.url.startswith("https" if "TLS" in secured else "http:")


def test_the_operators_address_is_printed(start_ready: Callable[..., Any]) -> None:
    port = free_port()
    gateway = start_ready({**AS_ON_A_TERMINAL, "server": {"admin": {"port": port}}})
    line = gateway.wait_for("admin:")
    assert line.split() == [
        "admin:",
        f"http://127.0.0.1:{port}/v1/status,",
        f"http://127.0.0.1:{port}/metrics",
    ]
