"""Models that their vendors have retired, will retire, or have replaced by another behind the same name.

A fact with its date and where it was read, an entry each; what no source states is left out. A date alone decides
whether it is past: nobody has to edit this file on the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase

from msgspec import Struct


class Retirement(Struct, frozen=True, kw_only=True):
    """The end of one or more models of a vendor.

    Attributes:
        adapters: under which the vendor is asked.
        models: names, or patterns as fnmatch takes them; upper and lower case are the same.
        day: when the vendor stops serving the model itself.
        successor: what the vendor says to use in its place; "" if it names none.
        is_silent: requests do not fail from that day on, but the successor answers them, with scores of its own.
        source: where and when it was read, `https://… (YYYY-MM)`.
    """

    adapters: Sequence[str]
    models: Sequence[str]
    day: date
    successor: str
    source: str
    is_silent: bool = False

    def sentence(self, model: str, today: date) -> str:
        """What has happened to that model, or will, with the date and the successor."""
        day, past = self.day.isoformat(), self.day <= today
        if self.is_silent:
            verb = "has been answered" if past else "will be answered"
            return (
                f"{model} {verb} by {self.successor} {'since' if past else 'from'} {day}{' on' * (not past)}, "
                "with other scores: name that model, and set thresholds anew"
            )
        verb = "was retired" if past else "will be retired"
        advice = f"use {self.successor}" if self.successor else "its vendor names no successor"
        return f"{model} {verb} on {day}; {advice}"


RETIREMENTS: Sequence[Retirement] = (
    Retirement(
        adapters=("cohere", "cohere-v1"),
        models=("rerank-english-v2.0", "rerank-multilingual-v2.0"),
        day=date(2025, 4, 30),
        successor="rerank-v3.5 or newer",
        source="https://docs.cohere.com/docs/deprecations (2026-10)",
    ),
    Retirement(
        adapters=("azure",),
        models=("Cohere-rerank-v3-english", "Cohere-rerank-v3-multilingual"),
        day=date(2025, 6, 30),
        successor="Cohere-rerank-v4.0-pro or Cohere-rerank-v4.0-fast",
        source="https://learn.microsoft.com/en-us/azure/ai-foundry/concepts/model-lifecycle-retirement (2026-11)",
    ),
    Retirement(
        adapters=("azure",),
        models=("Cohere-rerank-v4.0-fast",),
        day=date(2027, 9, 13),
        successor="",
        source="LiteLLM's table of models, model_prices_and_context_window.json (2026-11)",
    ),
    Retirement(
        adapters=("novita",),
        models=("qwen/qwen3-reranker-8b",),
        day=date(2026, 1, 8),
        successor="baai/bge-reranker-v2-m3",
        source="https://novita.ai/docs, notice of 2025-12-25 (2026-11)",
    ),
    Retirement(
        adapters=("together",),
        models=("Salesforce/Llama-Rank-v1",),
        day=date(2026, 2, 6),
        successor="",
        source="LiteLLM's table of models, model_prices_and_context_window.json (2026-11)",
    ),
    Retirement(
        adapters=("dashscope",),
        models=("gte-rerank",),
        day=date(2026, 5, 30),
        successor="qwen3-rerank",
        source="https://www.alibabacloud.com/en/notice, notice 751 of Model Studio (2026-04)",
    ),
    Retirement(
        adapters=("pinecone",),
        models=("cohere-rerank-3.5",),
        day=date(2026, 8, 1),
        successor="cohere-rerank-4-fast",
        is_silent=True,
        source="https://docs.pinecone.io/models/cohere-rerank-4-fast (2026-11)",
    ),
)
"""Every end that is known."""


def find_retirement(adapter: str, model: str, table: Sequence[Retirement] = RETIREMENTS) -> Retirement | None:
    """The retirement of that vendor's model, past or to come; None if none is known."""
    name = model.casefold()
    return next(
        (
            entry
            for entry in table
            if adapter in entry.adapters and any(fnmatchcase(name, pattern.casefold()) for pattern in entry.models)
        ),
        None,
    )
