"""What the operator's terminal is told of the process itself: its events and its errors, each once.

As JSON lines where the log has them, else as plain lines. Events are told whatever the log's level is: who waits for
`ready` must not wait for ever.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from time import monotonic

from gateway.exits import STARTED
from gateway.telemetry import logs
from gateway.telemetry.logs import Formatter
from gateway.telemetry.settings import LogSettings

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


def tell(event: str, message: str, **fields: object) -> None:
    """Tell of an event.

    Args:
        event: a word for programs.
        message: a sentence for people.
        fields: of the JSON line.
    """
    logger.info("%s", message, extra={"event": event, "fields": fields})


def tell_ready(banner: str, url: str, json_only: bool) -> None:
    """Tell that requests can be served; people get the banner too, on standard output.

    Args:
        banner: lines for people.
        url: where the gateway listens.
        json_only: the configuration asks for JSON, wherever it goes.
    """
    seconds = monotonic() - STARTED
    if not is_json():
        print(banner, flush=True)
        tell("ready", f"ready in {seconds:.1f} s")
        return
    tell("ready", f"rerank-gateway is ready on {url} after {seconds:.1f} s", url=url, seconds=round(seconds, 2))
    if not json_only and not _is_one_stream():
        print(banner, flush=True)


def _is_one_stream() -> bool:
    """Whether standard output and standard error go to the same file, where the log must stay JSON."""
    try:
        return os.path.sameopenfile(1, 2)
    except OSError:
        return True


def tell_error(message: str, problems: Sequence[str] = ()) -> None:
    """Say why the process ends.

    Args:
        message: one sentence.
        problems: what is wrong, one by one.
    """
    if is_json():
        fields = {"problems": list(problems)} if problems else {}
        logger.error("%s", message, extra={"event": "error", "fields": fields})
        return
    title = f"error: {message}:" if problems else f"error: {message}"
    print("\n".join([title, *(f"  {problem}" for problem in problems)]), file=sys.stderr, flush=True)


def ensure_log() -> None:
    """Log as by default, if no configuration has said otherwise yet: it may be what is wrong."""
    if not any(isinstance(handler.formatter, Formatter) for handler in logging.getLogger().handlers):
        logs.configure(LogSettings())


def is_json() -> bool:
    """Whether this process logs JSON lines. False while `logs.configure` has not been called."""
    formatters = [handler.formatter for handler in logging.getLogger().handlers]
    return any(isinstance(formatter, Formatter) and formatter.as_json for formatter in formatters)
