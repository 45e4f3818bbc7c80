"""The generated tables are fresh, and the page tells nothing that does not exist."""

from __future__ import annotations

import re

from docs.observability import PAGE, renewed
from gateway.telemetry import names


def test_the_tables_are_fresh() -> None:
    assert renewed() == PAGE.read_text(encoding="utf-8"), "run: make docs"


def test_every_metric_that_the_prose_names_exists() -> None:
    prose = re.sub(r"<!-- generated.*?<!-- end -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`(rerank_gateway_[a-z_]+)`", prose))
    assert named
    assert named <= {series.removesuffix("_count") for metric in names.METRICS for series in metric.series}
