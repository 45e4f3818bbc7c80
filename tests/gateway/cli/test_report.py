"""What `check` tells of a configuration: every subject of the file, with aliases resolved and without a secret."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.report import describe
from gateway.config.loader import from_tree
from gateway.errors import ConfigError

UP: dict[str, Any] = {"adapter": "cohere", "base_url": "http://127.0.0.1:9"}
SERVED: dict[str, Any] = {"providers": {"up": UP}}
HASH = f"sha256:{'0' * 64}"
KEY = {"name": "team", "hash": HASH}

TOLD: dict[str, tuple[dict[str, Any], list[str]]] = {
    # sections beside a provider, and lines that must be among those told, columns one space apart
    "where it listens": ({"server": {"port": 9, "workers": 2}}, ["listens on http://127.0.0.1:9 with 2 workers"]),
    "an IPv6 address": ({"server": {"host": "::1"}}, ["listens on http://[::1]:8080 with 1 worker"]),
    "operators": ({"server": {"admin": {"port": 9091}}}, ["for operators: http://127.0.0.1:9091"]),
    "hosts and pages": (
        {"server": {"allowed_hosts": ["a.example"], "cors": ["https://b.example"]}},
        ["answers to: a.example", "pages that may call: https://b.example"],
    ),
    "nobody needs a key": ({}, ["callers: anybody on this machine, without a key"]),
    "nobody needs a key, by name": ({"auth": "none"}, ["callers: anybody, without a key"]),
    "keys": (
        {
            "auth": {
                "keys": [
                    {**KEY, "models": ["best", "up/*"], "expires": "2099-01-01", "admin": True},
                    {
                        "name": "guest",
                        "hash": HASH.replace("0", "1"),
                        "limits": {"requests": "600/minute", "concurrency": 3},
                        "budget": {"usd": 5, "period": "day"},
                    },
                ]
            }
        },
        [
            "KEY MODELS LIMITS BUDGET EXPIRES ADMIN",
            "team best, up/* none none 2099-01-01 00:00 UTC yes",
            "guest * 600 requests per minute, 3 requests at a time $5 per day never no",
        ],
    ),
    "limits of all": (
        {"rate_limits": {"documents": "1000/hour", "models": {"up/*": {"requests": "5/second"}}}},
        ["all callers together: 1000 documents per hour", "of up/*: 5 requests per second"],
    ),
    "a health check, without what its query says": (
        {"providers": {"up": {**UP, "health_check": {"url": "http://127.0.0.1:9/h?key=secret", "interval": "1m"}}}},
        ["up cohere http://127.0.0.1:9/v2/rerank none 30 s http://127.0.0.1:9/h?… every 60 s"],
    ),
    "prices": (
        {"prices": {"up/*": {"per_search": 0.002, "per_million_tokens": 1}}, "models": {"m": "up/a"}},
        [
            "up/a pointwise probability unknown no 10,000 documents left to the provider $0.002 per search + "
            "$1 per million tokens"
        ],
    ),
    "what is done about long texts": (
        {
            "providers": {
                "up": {
                    **UP,
                    "capabilities": {
                        "*": {"long_documents": "truncate", "tokenizer": "BAAI/bge"},
                        "b*": {"long_documents": "chunk_max"},
                    },
                },
                "order": {"adapter": "passthrough"},
            },
            "models": {"m": "up/a", "n": "up/b"},
        },
        [
            "up/a pointwise probability unknown no 10,000 documents truncate, tokens by BAAI/bge unknown",
            "up/b pointwise probability unknown no 10,000 documents chunk_max, tokens by BAAI/bge unknown",
        ],
    ),
    "what is free": (
        {"prices": {"up/*": {"per_search": 0}}},
        ["up/* pointwise probability unknown no 10,000 documents left to the provider free"],
    ),
    "strategy, weights and hedge": (
        {
            "models": {
                "m": {
                    "targets": [{"target": "up/a", "weight": 3}, {"target": "up/b"}],
                    "strategy": "weighted",
                    "hedge": {"after": "200ms"},
                },
                "n": {"targets": [{"target": "up/a"}, {"target": "up/b"}], "hedge": {}},
            }
        },
        [
            "m weighted, hedged after 0.2 s up/a (3), up/b (1) none",
            "n ordered, hedged after 95% of its latencies up/a, up/b none",
        ],
    ),
    "the chain with its aliases resolved": (
        {
            "models": {
                "m": {"target": "up/a", "fallbacks": ["spare", "up/z"]},
                "spare": {"target": "up/b", "fallbacks": ["up/a", "up/c"]},
            }
        },
        ["m only target up/a up/b (spare) → up/c → up/z", "spare only target up/b up/a → up/c"],
    ),
    "the default model": (
        {"models": {"m": "up/a", "n": "up/b"}, "default_model": "n"},
        ["a request of TEI, vLLM or Infinity without a model: n; elsewhere `model` is required"],
    ),
    "the only model": (
        {"models": {"m": "up/a"}},
        ["a request of TEI, vLLM or Infinity without a model: m; elsewhere `model` is required"],
    ),
    "no default model": (
        {},
        ["a request of TEI, vLLM or Infinity without a model: is refused; elsewhere `model` is required"],
    ),
    "time and sizes": (
        {"deadline": {"default": "10s"}, "request_limits": {"body_bytes": "1MiB"}},
        [
            "a request takes at most: 10 s, or what its caller says up to 300 s; 10,000 documents, 1,048,576 bytes, "
            "32 attempts"
        ],
    ),
    "no store": ({}, ["counts are kept: in each process"]),
    "a store, without its password": (
        {"store": {"url": "redis://me:secret@h:6379/0", "when_down": "fail_open"}},
        ["counts are kept: in redis://h:6379/0; while it is away, requests are accepted uncounted"],
    ),
    "reports": (
        {"telemetry": {"logs": {"level": "DEBUG", "format": "json"}, "traces": {"exporter": "console"}}},
        ["reports: logs debug and above as json; traces console; metrics /metrics"],
    ),
    "recorded texts": (
        {"telemetry": {"metrics": {"prometheus": False}, "content": {"in_logs": True}}},
        ["reports: logs info and above as auto; traces none; metrics none; queries and documents are recorded"],
    ),
}


@pytest.mark.parametrize(("sections", "expected"), TOLD.values(), ids=TOLD)
def test_every_subject_is_told(sections: dict[str, Any], expected: list[str]) -> None:
    told = describe(from_tree({**SERVED, **sections}))
    assert "secret" not in told
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert [line for line in expected if line not in lines] == []


def test_a_variable_that_telemetry_does_not_understand_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER"):
        describe(from_tree(SERVED))
