"""What may be asked, and what is said of what may not."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.capacity import demand as demands
from gateway.capacity import plan
from gateway.capacity.costs import shipped
from gateway.errors import ConfigError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "rate: is required"),
    "no requests": ({"rate": 0}, "rate: input should be greater than or equal to 0.001"),
    "a rate that is no number": ({"rate": "many"}, "rate: input should be a valid number"),
    "not a number": ({"rate": "nan"}, "rate: input should be a finite number"),
    "endless": ({"rate": "inf"}, "rate:"),
    "more than there are": ({"rate": 1e12}, "rate: input should be less than or equal to 100000000"),
    "an unknown key": ({"rate": 1, "docs": 3}, "docs: unknown key"),
    "a key with a slip": ({"rate": 1, "document": 3}, 'document: unknown key; did you mean "documents'),
    "half a document": ({"rate": 1, "documents": 1.5}, "documents: input should be a valid integer"),
    "no documents": ({"rate": 1, "documents": 0}, "documents: input should be greater than or equal to 1"),
    "a size without sense": ({"rate": 1, "document_bytes": "big"}, "document_bytes: "),
    "more than all are cached": ({"rate": 1, "cache": "memory", "cached": 1.1}, "cached: input should be less"),
    "cached nowhere": ({"rate": 1, "cached": 0.5}, "set `cache` to `memory` or `shared`"),
    "an unknown limit": ({"rate": 1, "limits": ["bytes"]}, "limits.0: input should be 'requests'"),
    "one limit that is no list": ({"rate": 1, "limits": "budget"}, "limits: must be a list, such as [requests"),
    "never busy": ({"rate": 1, "utilisation": 0}, "utilisation: input should be greater than or equal to 0.01"),
    "always busy": ({"rate": 1, "utilisation": 1}, "utilisation: input should be less than or equal to 0.95"),
    "an average above the peak": ({"rate": 1, "mean_rate": 2}, "`mean_rate` cannot be above `rate`"),
    "two speeds": ({"rate": 1, "engine": "x", "documents_per_second": 5}, "not both"),
    "an engine with a vendor's price": ({"rate": 1, "documents_per_second": 5, "per_search": 1}, "leave out `model`"),
    "an engine without cores": ({"rate": 1, "engine": "x", "replica_cores": 0}, "set `replica_cores`"),
    "an engine that was not measured": ({"rate": 1, "engine": "minilm"}, "engine: was not measured"),
    "a model without a price": ({"rate": 1, "model": "cohere/unheard"}, "model: has no price that is known"),
    "a goal below the work itself": ({"rate": 1, "p99": "100us"}, "p99: must be a number of seconds"),
    "more hosts than there are": (
        {"rate": 1e8, "documents": 100_000, "document_bytes": "100MB"},
        "rate: takes more than 16,777,216 hosts or replicas",
    ),
    "more replicas than there are": ({"rate": 1e6, "documents_per_second": 0.01}, "rate: takes more than"),
    "a goal that nothing keeps": ({"rate": 1, "p99": "0.0001"}, "p99: cannot be kept: "),
    "a goal of which the gateways leave nothing": (
        {"rate": 1, "documents_per_second": 100, "p99": "0.0001"},
        " pass where nobody waits, and nothing is left for it",
    ),
    "a goal that the engine alone breaks": ({"rate": 1, "documents_per_second": 10, "p99": 1}, "p99: cannot be kept: "),
}


@pytest.mark.parametrize(("tree", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan.make(demands.parse(tree), shipped())
    assert words in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        demands.parse({"rate": -1, "documents": "x", "cores": 0})
    assert [problem.path for problem in caught.value.problems] == ["cores", "documents", "rate"]


def test_text_is_read_as_on_a_command_line() -> None:
    demand = demands.parse({"rate": "1e3", "document_bytes": "2KB", "latency": "150ms", "limits": ["tokens"]})
    assert (demand.rate, demand.document_bytes, demand.latency, demand.limits) == (1000, 2000, 0.15, ("tokens",))
