"""What callers see for each fault: the table that docs/operations.md publishes."""

from __future__ import annotations

from collections.abc import Iterator

_SERVED = ("200", "200", "200")


def _fails(told: str) -> tuple[str, str, str]:
    return told, "200, from the fallback", told


EXPECTED: dict[str, tuple[str, str, str]] = {
    "400": _fails("400 upstream_rejected"),
    "401": _fails("502 upstream_credentials"),
    "402": _fails("502 upstream_credentials"),
    "403": _fails("502 upstream_credentials"),
    "404": _fails("404 upstream_rejected"),
    "413": _fails("413 upstream_rejected"),
    "422": _fails("422 upstream_rejected"),
    "500": _fails("502 upstream_error"),
    "502": _fails("502 upstream_error"),
    "503": _fails("503 upstream_error"),
    "504": _fails("504 upstream_error"),
    "529": _fails("502 upstream_error"),
    "429": _fails("429 rate_limited"),
    "429 seconds": _fails("429 rate_limited, retry-after 7"),
    "429 milliseconds": _fails("429 rate_limited, retry-after 7"),
    "429 date": _fails("429 rate_limited, retry-after 7"),
    "429 beyond the deadline": _fails("429 rate_limited, retry-after 4"),
    "429 for a year": _fails("429 rate_limited, retry-after 3600"),
    "429 reset as a duration": _fails("429 rate_limited, retry-after 7"),
    "429 reset in milliseconds": _fails("429 rate_limited, retry-after 7"),
    "500 with a routine reset": _fails("502 upstream_error"),
    "503 retry-after": _fails("503 upstream_error, retry-after 60"),
    "empty body": _fails("502 upstream_bad_answer"),
    "html": _fails("502 upstream_bad_answer"),
    "truncated json": _fails("502 upstream_bad_answer"),
    "wrong content type": _SERVED,
    "content-length too long": _fails("502 upstream_unreachable"),
    "content-length too short": _fails("502 upstream_bad_answer"),
    "not http": _fails("502 upstream_unreachable"),
    "redirect": _fails("502 upstream_error"),
    "gzip bomb": _fails("502 upstream_bad_answer"),
    "broken gzip": _fails("502 upstream_unreachable"),
    "brotli": _fails("502 upstream_bad_answer"),
    "gzip in members, with a space": _SERVED,
    "429 in brotli": _fails("429 rate_limited, retry-after 7"),
    "503 in broken gzip": _fails("503 upstream_error, retry-after 7"),
    "503 that breaks off": _fails("503 upstream_error, retry-after 7"),
    "identity until close": _SERVED,
    "index out of range": _fails("502 upstream_bad_answer"),
    "index negative": _fails("502 upstream_bad_answer"),
    "index twice": _fails("502 upstream_bad_answer"),
    "index missing": _fails("502 upstream_bad_answer"),
    "score nan": _fails("502 upstream_bad_answer"),
    "score infinite": _fails("502 upstream_bad_answer"),
    "score missing": _fails("502 upstream_bad_answer"),
    "score null": _fails("502 upstream_bad_answer"),
    "score text": _fails("502 upstream_bad_answer"),
    "results null": _fails("502 upstream_bad_answer"),
    "results missing": _fails("502 upstream_bad_answer"),
    "results empty": _fails("502 upstream_bad_answer"),
    "too few results": _SERVED,
    "another model's name": _SERVED,
    "accept and hang": _fails("504 deadline_exceeded"),
    "reset": _fails("502 upstream_unreachable"),
    "reset in the body": _fails("502 upstream_unreachable"),
    "close in the body": _fails("502 upstream_unreachable"),
    "slow drip": _fails("504 deadline_exceeded"),
    "100 MB answer": _fails("502 upstream_bad_answer"),
    "endless answer": _fails("502 upstream_bad_answer"),
    "endless chunks of two bytes": _fails("502 upstream_unreachable"),
    "endless trailer": _fails("502 upstream_unreachable"),
    "endless chunk extension": _fails("502 upstream_unreachable"),
    "endless interim answers": _fails("502 upstream_unreachable"),
    "connection refused": _fails("502 upstream_unreachable"),
    "dns failure": _fails("502 upstream_unreachable"),
}
"""By mode: alone, with a healthy fallback, all targets faulty."""


def table() -> Iterator[str]:
    """The lines of the table in docs/operations.md."""
    yield "| fault | no fallback | healthy fallback | all targets faulty |"
    yield "|---|---|---|---|"
    for mode, told in EXPECTED.items():
        yield f"| {mode} | {' | '.join(told)} |"
