"""Real rerank servers on loopback, each a process of its own that ends with the test run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import yaml

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
START_LIMIT = 120.0
"""Seconds that a server may take to answer; some import for half a minute."""
QUIET = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
MODEL = "tiny"
LITELLM_KEY = "sk-of-this-test"


def program(environment: str, name: str) -> Path:
    """A program of a virtual environment that `make test-upstreams` makes."""
    return ROOT / f".venv-upstreams-{environment}" / "bin" / name


@contextmanager
def infinity(folder: Path, log: Path) -> Iterator[str]:
    """Infinity with the model in that folder. Gives its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [program("infinity", "infinity_emb"), "v2", "--model-id", folder, "--served-model-name", MODEL]
    command += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--no-model-warmup"]
    with _process([*command, "--host", "127.0.0.1", "--port", url.rpartition(":")[2]], log, f"{url}/health"):
        yield url


@contextmanager
def litellm(models: Mapping[str, Mapping[str, str]], log: Path) -> Iterator[str]:
    """LiteLLM's proxy with these models, by its own settings of each. Gives its URL."""
    config = log.with_suffix(".yaml")
    entries = [{"model_name": name, "litellm_params": dict(params)} for name, params in models.items()]
    quick = {"num_retries": 0, "telemetry": False}
    tree = {"model_list": entries, "general_settings": {"master_key": LITELLM_KEY}, "litellm_settings": quick}
    config.write_text(yaml.safe_dump({**tree, "router_settings": {"num_retries": 0}}))
    url = f"http://127.0.0.1:{free_port()}"
    command = [program("litellm", "litellm"), "--config", config, "--host", "127.0.0.1"]
    with _process([*command, "--port", url.rpartition(":")[2]], log, f"{url}/health/liveliness"):
        yield url


@contextmanager
def gateway(tree: Mapping[str, Any], log: Path) -> Iterator[str]:
    """This gateway with that configuration. Gives its URL."""
    config = log.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(dict(tree)))
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gateway", "serve", "--config", config, "--port", url.rpartition(":")[2]]
    with _process(command, log, f"{url}/readyz"):
        yield url


@contextmanager
def xinference(folder: Path, log: Path) -> Iterator[tuple[str, str]]:
    """Xinference with the model in that folder. Gives its URL, and a token for it.

    It asks for an account before anything else: a token in its log lets one set up the first.
    """
    url = f"http://127.0.0.1:{free_port()}"
    command = [program("xinference", "xinference-local"), "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    own = {"XINFERENCE_HOME": str(log.with_suffix(".home")), "HF_HUB_OFFLINE": "1"}
    with _process(command, log, f"{url}/v1/cluster/auth", own), httpx.Client(base_url=url, trust_env=False) as client:
        account = {"username": "tests", "password": "Password-of-this-test-1"}
        found = re.search(r"Setup token: (\S+)", log.read_text(encoding="utf-8", errors="replace"))
        assert found is not None, "its log names no setup token"
        _post(client, "/v1/admin/setup", {**account, "setup_token": found[1]})
        token: str = _post(client, "/token", account)["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        spec = {"model_format": "pytorch", "model_id": MODEL, "model_uri": folder.as_uri(), "quantization": "none"}
        model = {"version": 2, "model_name": MODEL, "type": "normal", "language": ["en"], "max_tokens": 64}
        registration = {"model": json.dumps({**model, "model_specs": [spec]}), "persist": False}
        _post(client, "/v1/model_registrations/rerank", registration)
        launch = {"model_uid": MODEL, "model_name": MODEL, "model_type": "rerank"}
        _post(client, "/v1/models", {**launch, "model_engine": "sentence_transformers", "n_gpu": None})
        yield url, token


def _post(client: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    answer = client.post(path, json=body, timeout=START_LIMIT)
    assert answer.is_success, answer.text
    return answer.json()


@contextmanager
def _process(
    command: Sequence[Any], log: Path, health: str, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """A process from its first good answer on; what it prints goes to the log."""
    with log.open("wb") as output:
        whole = {**os.environ, **QUIET, **environ}
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=whole
        )
        try:
            _wait(process, health, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until(done: Callable[[], bool]) -> None:
    """Asks again until it is so, or START_LIMIT has passed."""
    until = time.monotonic() + START_LIMIT
    while not done() and time.monotonic() < until:
        time.sleep(0.2)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(health, timeout=2, trust_env=False).is_success:
                return
        time.sleep(0.2)  # Another process: nothing but asking tells when it is there.
    raise RuntimeError(f"{process.args[0]} is not ready; it said:\n{log.read_text(errors='replace')[-3000:]}")
