"""Every panel and every alert asks for metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metric_store import MetricStore
from gateway.telemetry.metrics import METRICS
from gateway.telemetry.prometheus import exposition

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
_METRIC = re.compile(r"(?:model:)?rerank_gateway_[a-z0-9_]+(?::[a-z0-9_]+)?")
_SELECTOR = re.compile(r"(rerank_gateway_[a-z_]+)\{([^}]*)\}")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"by \(([a-z_, ]+)\)")
SERIES = {series: metric for metric in METRICS.values() for series in metric.series}


def queries() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/rerank-gateway.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']} {target['refId']}", target["expr"]
    for name in ("alerts.yaml", "slo.yaml"):
        for group in yaml.safe_load((DEPLOY / name).read_text())["groups"]:
            for rule in group["rules"]:
                kind = "alert" if "alert" in rule else "record"
                severity = " critical" if name == "slo.yaml" and rule.get("labels") == {"severity": "critical"} else ""
                yield f"{kind} {rule[kind]}{severity}", rule["expr"]


QUERIES = dict(queries())
RECORDED = {name.removeprefix("record ") for name in QUERIES if name.startswith("record ")}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_what_exists(name: str) -> None:
    query = QUERIES[name]
    used = set(_METRIC.findall(query))
    assert used
    assert used <= set(SERIES) | RECORDED
    for series, selector in _SELECTOR.findall(query):
        assert set(_LABEL.findall(selector)) <= {*SERIES[series].labels, "instance", "le"}, (
            "Prometheus adds the instance"
        )
    for labels in _BY.findall(query):
        known = {label for series in used for label in SERIES[series].labels} | {"le"}
        assert {label.strip() for label in labels.split(",")} <= known


def test_the_names_are_those_that_are_exposed() -> None:
    store = MetricStore(METRICS)
    for metric in METRICS.values():
        labels = tuple("x" for _ in metric.labels)
        store.observe(metric, 1.0, labels) if metric.kind == "histogram" else store.add(metric, labels)
    text = exposition(store, "")[0].decode()
    exposed = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert exposed == set(SERIES)


def test_every_metric_has_a_panel() -> None:
    panels = [query for name, query in QUERIES.items() if name.startswith("panel ")]
    shown = {SERIES[series].name for query in panels for series in _METRIC.findall(query)}
    assert shown == set(METRICS)


def test_every_alert_that_was_promised_is_there() -> None:
    alerts = {name for name in QUERIES if name.startswith("alert ")}
    assert {"alert RerankDegradedAnswers", "alert RerankTargetEjected"} <= alerts
    assert {"alert RerankErrorRate", "alert RerankOverheadHigh"} <= alerts


async def test_what_an_alert_counts_exists_before_its_first_event(opened: Any, settings: Any) -> None:
    """`increase` does not see the value that a series begins with: one that begins at 1 has not increased."""
    client = await opened(settings(models={"search": {"target": "cohere/a"}}))
    samples = {
        (sample.name, tuple(sample.labels.values()))
        for family in text_string_to_metric_families((await client.get("/metrics")).text)
        for sample in family.samples
    }
    counted = {
        name
        for query, expression in QUERIES.items()
        if query.startswith("alert ") and "increase(" in expression
        for name in _METRIC.findall(expression)
    }
    assert counted == {"rerank_gateway_degraded_answers_total", "rerank_gateway_config_reloads_total"}
    assert {
        ("rerank_gateway_degraded_answers_total", (model,)) for model in ("search", "cohere/a", "_other")
    } <= samples
    assert {("rerank_gateway_config_reloads_total", (outcome,)) for outcome in ("ok", "rejected")} <= samples


def test_the_dashboard_follows_its_variables() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/rerank-gateway.json").read_text())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "model", "instance"}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert [expression for expression in expressions if 'instance=~"$instance"' not in expression] == []
    asked = [text for text in expressions if "rerank_gateway_requests_total" in text]
    assert all('model=~"$model"' in text for text in asked)
    assert sum(panel["type"] == "stat" for panel in panels) == 8


def test_no_panel_lies_over_another() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/rerank-gateway.json").read_text())
    cells: list[tuple[int, int]] = []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells += [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_compose_mounts_files_that_exist() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {"gateway", "otel-collector", "jaeger", "prometheus", "grafana"} <= set(services)
    mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount).exists()] == []


def test_the_images_of_compose_are_named_by_version_and_digest() -> None:
    """A version for readers, a digest for machines: the same bytes tomorrow, whoever moves the tag."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    images = [service["image"] for service in services.values() if "image" in service]
    assert len(images) == 5
    assert [
        image for image in images if not re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}", image)
    ] == []


def test_the_gateway_of_compose_is_valid() -> None:
    from gateway.config.loader import from_tree

    assert from_tree(yaml.safe_load((ROOT / "config/docker.yaml").read_text())).server.port == 8080
