"""Logs: one line per request, and the process's own messages, as JSON or for a terminal.

The request's line is written here and not through `logging`, because a `LogRecord` costs more than the whole line.
Neither holds keys or upstream bodies, nor query or document text unless `telemetry.content` asks for it. Records may
have `event` and `fields`, which become fields of the line: see `lifecycle`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from gateway.telemetry.content import content_text, shorten
from gateway.telemetry.exchange import Exchange
from gateway.telemetry.settings import ContentSettings, LogSettings

_encode = msgspec.json.Encoder().encode
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
"""Control characters, and those that reorder or hide text on a terminal."""

_ENGINE_DETAILS = ("queue_ms", "tokenize_ms", "compute_ms", "truncated_documents")

_IN_HEAD = frozenset({
    "time", "level", "event", "status", "outcome", "model", "provider", "served_model", "documents", "duration_ms",
    "overhead_ms", "dialect",
})  # fmt: skip
"""Fields of a text line that are shown in its first part, or not at all."""

MAX_FAILED = 8
"""Failed attempts that a line tells of."""

_QUOTED_VALUE = re.compile(r"(Invalid enum value) ['\"].*['\"]", re.DOTALL)
"""The one place where the sentence of a bad request holds a value of it, which may be a text in the wrong field."""

Line = dict[str, Any]


class RequestLog:
    """Writes one line per finished request.

    Args:
        settings: level and format.
        content: whether queries and documents may be written.
        stream: where to; the standard error stream if absent.
    """

    def __init__(self, settings: LogSettings, content: ContentSettings, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._content = content if content.in_logs else None
        self._format: Callable[[Line], str] = _json if wants_json(settings, self._stream) else _text
        self._min_level = logging.getLevelNamesMapping()[settings.level.upper()]

    def write(self, exchange: Exchange) -> None:
        """Log a request that is over. A stream that cannot be written to is ignored."""
        failed = exchange.status >= 500
        if self._min_level > (logging.WARNING if failed else logging.INFO):
            return
        line = self._format(build_line(exchange, "warning" if failed else "info", self._content))
        try:
            self._stream.write(line + "\n")
        except (OSError, ValueError):
            # A full disk or a closed pipe must not cost a request.
            return


def build_line(exchange: Exchange, level: str, content: ContentSettings | None) -> Line:
    """The fields of a request's line; what is not known is left out.

    Args:
        exchange: the finished request.
        level: in lower case.
        content: how much of the query and the documents is logged; None logs nothing of them.
    """
    line: Line = {
        "time": _now(),
        "level": level,
        "event": "request",
        "request_id": exchange.call.id,
        "status": exchange.status,
        "outcome": exchange.outcome,
        "duration_ms": _ms(exchange.end - exchange.start),
        "overhead_ms": _ms(exchange.overhead),
        "attempts": len(exchange.call.recorder.attempts),
        "dialect": exchange.dialect,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
    }
    if exchange.trace_id:
        line["trace_id"] = f"{exchange.trace_id:032x}"
    if exchange.caller:
        line["key"] = exchange.caller
    _add_faults(line, exchange)
    if exchange.request is not None:
        line["model"] = printable(shorten(exchange.request.model))
        line["documents"] = len(exchange.request.documents)
    if exchange.ranking is not None:
        _add_ranking(line, exchange)
    if content is not None:
        _add_content(line, exchange, content)
    return line


def _add_faults(line: Line, exchange: Exchange) -> None:
    """What went wrong: the code, the caller's fault in a sentence, and which attempts failed."""
    if exchange.error_type:
        line["error_type"] = exchange.error_type
    if exchange.error:
        line["error"] = printable(shorten(_QUOTED_VALUE.sub(r"\1", exchange.error)))
    if failed := _failed_attempts(exchange):
        line["failed"] = failed


def _failed_attempts(exchange: Exchange) -> list[str]:
    """The first MAX_FAILED attempts that failed: target, code, and status if there was one."""
    failed = [attempt for attempt in exchange.attempts if attempt.error_type][:MAX_FAILED]
    return [
        printable(shorten(f"{attempt.provider}/{attempt.model}"))
        + f" {attempt.error_type}"
        + (f" {attempt.status}" if attempt.status is not None else "")
        for attempt in failed
    ]


def printable(text: str) -> str:
    """The text with spaces for all characters that could forge a line, move a terminal's cursor or hide text."""
    return text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub(" ", text)


def configure(settings: LogSettings) -> None:
    """Send the process's own messages to the standard error stream in the chosen format.

    It replaces the handlers of the root logger, so only a process of our own may call it.
    """
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(Formatter(wants_json(settings, sys.stderr), settings.exception_messages))
    root = logging.getLogger()
    root.handlers[:] = [stderr]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    if wants_json(settings, sys.stderr):
        # Libraries draw bars about downloads on standard error.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def wants_json(settings: LogSettings, stream: TextIO) -> bool:
    """Whether lines are JSON: as configured; `auto` means unless the stream is a terminal."""
    return settings.format == "json" or (settings.format == "auto" and not stream.isatty())


class Formatter(logging.Formatter):
    """Formats a message as one line of JSON, or as text with the traceback below it.

    Args:
        as_json: whether it is JSON.
        exception_messages: whether the messages of exceptions are shown. They may quote the request that caused them;
            without, only types and tracebacks are.
    """

    def __init__(self, as_json: bool, exception_messages: bool) -> None:
        super().__init__()
        self.as_json, self._messages = as_json, exception_messages

    def format(self, record: logging.LogRecord) -> str:
        line: Line = {
            "time": _now(),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            "logger": record.name,
            "message": printable(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = self._traceback(record.exc_info[1])
        if self.as_json:
            return _json(line)
        head = f"{line['time'][11:23]} {line['level'].upper():7} {line['message']}"
        return f"{head}\n{line['exception']}" if "exception" in line else head

    def _traceback(self, error: BaseException) -> str:
        if self._messages:
            return "".join(traceback.format_exception(error)).rstrip()
        blocks = []
        current: BaseException | None = error
        while current is not None:
            places = "".join(traceback.format_tb(current.__traceback__))
            blocks.append(f"{places}{type(current).__module__}.{type(current).__qualname__}")
            current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        return "\nwhile handling:\n".join(blocks)


def _add_ranking(line: Line, exchange: Exchange) -> None:
    ranking = exchange.ranking
    assert ranking is not None  # noqa: S101  # the caller has checked
    line["provider"] = ranking.provider
    line["served_model"] = printable(shorten(ranking.model))
    if exchange.degraded:
        line["degraded"] = True
    if ranking.usage is not None:
        usage = ranking.usage
        if tokens := usage.charged_tokens:
            line["tokens"] = tokens
        if usage.search_units:
            line["search_units"] = usage.search_units
    if exchange.cost is not None:
        line["cost_usd"] = exchange.cost
    if ranking.details is not None:
        line.update({name: ranking.details[name] for name in _ENGINE_DETAILS if name in ranking.details})


def _add_content(line: Line, exchange: Exchange, content: ContentSettings) -> None:
    request = exchange.request
    if request is None:
        return
    documents = request.documents[: content.documents]
    line["query"] = printable(content_text(request.query, content.characters))
    line["document_texts"] = [printable(content_text(document, content.characters)) for document in documents]
    line["documents_left_out"] = len(request.documents) - len(documents)


def _json(line: Line) -> str:
    return _encode(line).decode("utf-8")


def _text(line: Line) -> str:
    """For people: time, level, status and who served what; then all other fields as name=value."""
    served = f" → {line['provider']}/{line['served_model']}" if "provider" in line else ""
    first = (
        f"{line['time'][11:23]} {line['level'].upper():7} {line['status'] or '---'} {line.get('model', '-')}{served}"
        f" {line.get('documents', 0)} documents {line['duration_ms']:.1f} ms (own {line['overhead_ms']:.2f})"
    )
    return f"{first} {' '.join(f'{name}={line[name]}' for name in line if name not in _IN_HEAD)}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
