"""Foreign errors become ours here, by one table per client."""

from __future__ import annotations

from msgspec.structs import asdict

from gateway.transport.base import Timeouts
from gateway.transport.network import host_of
from providers.errors import TargetError

ErrorMap = tuple[tuple[type[Exception], type[TargetError], str], ...]
"""The library's class → ours, and what to say. The first row that fits counts; the last fits all."""


def translate(error: Exception, sentences: ErrorMap, url: str, timeouts: Timeouts, reason: str) -> TargetError:
    """Our error for the library's. Of the URL it tells the host, and nothing else."""
    ours, sentence = next((ours, sentence) for foreign, ours, sentence in sentences if isinstance(error, foreign))
    return ours(sentence.format(host=host_of(url), reason=reason, **asdict(timeouts)))
