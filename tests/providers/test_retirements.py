"""Models that ended or will end: whose they are, and what a date makes of them."""

from __future__ import annotations

from datetime import date

import pytest

from providers import registry
from providers.retirements import RETIREMENTS, Retirement, find_retirement

END = Retirement(
    adapters=("acme", "acme-v1"), models=("rank-1*", "Old"), day=date(2026, 5, 30), successor="rank-2", source="s"
)
SILENT = Retirement(
    adapters=("acme",), models=("quiet",), day=date(2026, 8, 1), successor="loud", is_silent=True, source="s"
)
NAMELESS = Retirement(adapters=("acme",), models=("alone",), day=date(2026, 5, 30), successor="", source="s")

SENTENCES: dict[str, tuple[Retirement, str, date, str]] = {
    "past": (END, "Old", date(2026, 6, 1), "Old was retired on 2026-05-30; use rank-2"),
    "on the day": (END, "Old", date(2026, 5, 30), "Old was retired on 2026-05-30; use rank-2"),
    "to come": (END, "Old", date(2026, 5, 29), "Old will be retired on 2026-05-30; use rank-2"),
    "without a successor": (
        NAMELESS,
        "alone",
        date(2027, 1, 1),
        "alone was retired on 2026-05-30; its vendor names no successor",
    ),
    "replaced silently": (
        SILENT,
        "quiet",
        date(2026, 8, 1),
        "quiet has been answered by loud since 2026-08-01, with other scores: name that model, and set thresholds anew",
    ),
    "to be replaced silently": (
        SILENT,
        "quiet",
        date(2026, 7, 31),
        "quiet will be answered by loud from 2026-08-01 on, "
        "with other scores: name that model, and set thresholds anew",
    ),
}


@pytest.mark.parametrize(("end", "model", "today", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_date_decides_what_is_said(end: Retirement, model: str, today: date, sentence: str) -> None:
    assert end.sentence(model, today) == sentence


NAMES: dict[str, tuple[str, str, Retirement | None]] = {
    "by name": ("acme", "Old", END),
    "in another case": ("acme", "old", END),
    "by pattern": ("acme", "rank-1-large", END),
    "of another adapter of the vendor": ("acme-v1", "Old", END),
    "the same name elsewhere": ("other", "Old", None),
    "a newer model": ("acme", "rank-2", None),
    "a part of a name": ("acme", "Older", None),
}


@pytest.mark.parametrize(("adapter", "model", "found"), NAMES.values(), ids=NAMES)
def test_a_model_is_found_by_its_vendor_and_name(adapter: str, model: str, found: Retirement | None) -> None:
    assert find_retirement(adapter, model, [END]) == found


@pytest.mark.parametrize("end", RETIREMENTS, ids=lambda end: f"{end.adapters[0]}/{end.models[0]}")
def test_every_entry_is_about_an_adapter_that_exists_and_says_where_it_was_read(end: Retirement) -> None:
    assert set(end.adapters) <= set(registry.names())
    assert end.models
    assert end.source.endswith(")")
    assert end.successor or not end.is_silent
    for adapter in end.adapters:
        assert find_retirement(adapter, end.models[0]) is end
