"""The generated tables are fresh, and the page tells nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generate import renewed
from gateway.telemetry.metrics import METRICS

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"


def test_the_tables_are_fresh() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text) == text, "run: make docs"


def test_every_metric_that_the_prose_names_exists() -> None:
    prose = re.sub(r"<!-- generated.*?<!-- end -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`(rerank_gateway_[a-z_]+)`", prose))
    assert named
    assert named <= {series.removesuffix("_count") for metric in METRICS.values() for series in metric.series}
