"""Alerts fire when they should, on series that exist from the start; each has its section in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.metrics import METRICS, SLO_FAILURES, SLO_REQUESTS, LabelAllowlist, Metrics
from tests.gateway.telemetry.conftest import BODY
from tests.gateway.telemetry.test_metrics import parsed, read, value

ROOT = Path(__file__).parents[3]
RULE_TESTS = sorted((ROOT / "deploy").glob("*.test.yaml"))
RULE_FILES = [path.with_name(path.name.replace(".test", "")) for path in RULE_TESTS]
RULES = [rule for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
ALERTS = sorted({rule["alert"] for rule in RULES if "alert" in rule})
COUNTED = {series: one for one in METRICS.values() if one.kind != "gauge" for series in one.series}
WATCHED = sorted(
    {name for rule in RULES for name in re.findall(r"rerank_gateway_[a-z_]+", rule["expr"])} & set(COUNTED)
)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_cases_say(path: Path) -> None:
    promtool("test", "rules", path)


@needs_promtool
def test_rules_and_the_configuration_of_prometheus_are_valid(tmp_path: Path) -> None:
    promtool("check", "rules", *RULE_FILES)
    settings = yaml.safe_load((ROOT / "deploy/prometheus.yaml").read_text())
    # In the container the rules lie beside it.
    settings["rule_files"] = [str(ROOT / "deploy" / Path(name).name) for name in settings["rule_files"]]
    assert [Path(name) for name in settings["rule_files"]] == RULE_FILES
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    promtool("check", "config", tmp_path / "prometheus.yaml")


def test_prometheus_of_compose_is_given_every_file_of_rules() -> None:
    volumes = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["volumes"]
    inside = [volume.split(":")[1] for volume in volumes if volume.startswith("./deploy/")]
    assert {f"/etc/prometheus/{path.name}" for path in RULE_FILES} <= set(inside)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_cases_and_a_section_of_the_runbook(alert: str) -> None:
    cases = [
        case
        for path in RULE_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert any(case["exp_alerts"] for case in cases)
    assert any(not case["exp_alerts"] for case in cases)
    assert f"### {alert}\n" in (ROOT / "docs/operations.md").read_text()
    rules = [rule for rule in RULES if rule.get("alert") == alert]
    known = {rule["annotations"].get("runbook", f"docs/operations.md#{alert.lower()}") for rule in rules}
    assert known == {f"docs/operations.md#{alert.lower()}"}


def test_the_rules_of_every_window_are_alike() -> None:
    shapes: dict[str, set[str]] = {}
    windows: dict[str, set[str]] = {}
    for rule in RULES:
        if "record" in rule:
            name, _, window = rule["record"].partition(":ratio_rate")
            assert rule["expr"].count(f"[{window}]") == rule["expr"].count("[") == 2
            shapes.setdefault(name, set()).add(rule["expr"].replace(f"[{window}]", "[window]"))
            windows.setdefault(name, set()).add(window)
    assert {len(found) for found in shapes.values()} == {1}
    assert set(map(frozenset, windows.values())) == {frozenset({"5m", "30m", "1h", "2h", "6h", "1d", "3d"})}


MODELS = {"best": {"target": "cohere/m", "fallbacks": ["passthrough/order"]}}
FALLBACK = {"passthrough": {"adapter": "passthrough"}}


def with_passthrough(settings: Any) -> dict[str, Any]:
    tree: dict[str, Any] = settings(models=MODELS)
    tree["providers"] |= FALLBACK
    return tree


@pytest.mark.parametrize("series", WATCHED)
async def test_what_alerts_count_is_there_before_anything_happened(opened, settings, series: str) -> None:
    samples = await read(await opened(with_passthrough(settings)))
    found = {labels: number for (name, labels), number in samples.items() if name == series}
    assert found
    assert set(found.values()) == {0.0}
    if "model" in COUNTED[series].labels:
        assert {"best", "_other", ""} <= {dict(labels)["model"] for labels in found}


async def test_what_a_first_event_adds_is_growth(opened, settings, upstream) -> None:
    client = await opened(with_passthrough(settings))
    before = await read(client)
    upstream.reply_with(503, {})
    assert (await client.post("/v1/rerank", json={**BODY, "model": "best"})).headers["x-gateway-degraded"] == "true"
    after = await read(client)
    name = "rerank_gateway_degraded_answers_total"
    assert (value(before, name, model="best"), value(after, name, model="best")) == (0, 1)
    assert {labels for found, labels in before if found == name} == {labels for found, labels in after if found == name}


@pytest.mark.parametrize("workers", ["2"])
def test_workers_have_them_too(start_gateway, upstream, workers: str) -> None:
    import httpx

    process = start_gateway({"providers": {"cohere": {"base_url": upstream.url, "api_key": "k"}}}, "--workers", workers)
    process.wait_until_ready()
    samples = parsed(httpx.get(f"{process.url}/metrics").text)
    assert {name for name, _ in samples} >= set(WATCHED)
    assert value(samples, SLO_REQUESTS.prometheus + "_total") == 0
    assert process.stop() == 0


OBJECTIVES = {
    "served": (200, "", 1, 0),
    "invalid": (400, "invalid_request", 0, 0),
    "no such key": (401, "unauthorized", 0, 0),
    "budget spent": (402, "budget_spent", 0, 0),
    "not allowed": (403, "model_not_allowed", 0, 0),
    "unknown model": (404, "unknown_model", 0, 0),
    "too large": (413, "too_large", 0, 0),
    "a coding that is not read": (415, "unsupported_media_type", 0, 0),
    "the caller's own limit": (429, "limit_reached", 0, 0),
    "the target's limit": (429, "rate_limited", 1, 1),
    "no room": (429, "overloaded", 1, 1),
    "a defect": (500, "rerank_error", 1, 1),
    "no target": (502, "upstream_error", 1, 1),
    "the store is down": (503, "store_down", 1, 1),
    "too late": (504, "deadline_exceeded", 1, 1),
    "the caller left": (0, "cancelled", 0, 0),
}


@pytest.mark.parametrize(("status", "code", "requests", "failures"), OBJECTIVES.values(), ids=OBJECTIVES)
def test_whose_fault_it_was(status: int, code: str, requests: int, failures: int) -> None:
    from tests.gateway.telemetry.test_metrics import exchange

    ended = exchange(ranking=False)
    ended.status, ended.error_type = status, code
    store = MetricStore(METRICS)
    counting = Metrics(store, LabelAllowlist({"alias"}))
    counting.create_series({"alias"})
    counting.request_ended(ended)
    found = store.read()
    assert found[SLO_REQUESTS.name, ("alias",)] == [requests]
    assert found[SLO_FAILURES.name, ("alias",)] == [failures]


def test_starting_twice_changes_nothing() -> None:
    store = MetricStore(METRICS)
    counting = Metrics(store, LabelAllowlist({"a"}))
    counting.create_series({"a"})
    counting.count_store_failure()
    before = store.read()
    counting.create_series({"a"})
    assert store.read() == before
