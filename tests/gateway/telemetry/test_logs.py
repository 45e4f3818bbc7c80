"""The request log and the process's own messages."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.telemetry.exchange import Exchange
from gateway.telemetry.logs import Formatter, RequestLog
from gateway.telemetry.recorder import RequestRecorder
from gateway.telemetry.settings import ContentSettings, LogSettings
from providers.attempts import AttemptRecord
from providers.types import Call, Ranked, Ranking, RerankRequest, Usage


def finished(model: str = "cohere/m", status: int = 200, error: str = "") -> Exchange:
    call = Call(id="req-1", recorder=RequestRecorder())
    call.recorder.add_attempt(AttemptRecord(provider="cohere", model="m", start=10.0, end=10.003, status=status))
    found = Exchange("unified", call, 10.0, "/v1/rerank", trace_id=0xABC, caller="team-a")
    found.request = RerankRequest(model=model, query="the query", documents=["one", "two"], call=call)
    found.bytes_in, found.bytes_out, found.status, found.error_type = 100, 200, status, error
    found.end, found.overhead = 10.025, 0.001
    if status == 200:
        found.ranking = Ranking(
            results=[Ranked(0, 0.5)],
            provider="cohere",
            model=model,
            usage=Usage(prompt_tokens=12, total_tokens=12, search_units=1.0),
            details={"queue_ms": 1.5, "anything": "else"},
        )
    return found


def written(exchange: Exchange, content: ContentSettings | None = None, **settings: Any) -> str:
    stream = io.StringIO()
    RequestLog(LogSettings(**settings), content or ContentSettings(), stream).write(exchange)
    return stream.getvalue()


def test_json() -> None:
    line = json.loads(written(finished()))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "req-1",
        "trace_id": "00000000000000000000000000000abc",
        "status": 200,
        "outcome": "ok",
        "duration_ms": 25.0,
        "overhead_ms": 1.0,
        "attempts": 1,
        "dialect": "unified",
        "bytes_in": 100,
        "bytes_out": 200,
        "key": "team-a",
        "model": "cohere/m",
        "documents": 2,
        "provider": "cohere",
        "served_model": "cohere/m",
        "tokens": 12,
        "search_units": 1.0,
        "queue_ms": 1.5,
    }


TOKENS: dict[str, tuple[Usage | None, int | None]] = {
    "billed and used": (Usage(prompt_tokens=57, total_tokens=57, billed_tokens=60), 60),
    "fewer billed than used": (Usage(prompt_tokens=57, total_tokens=57, billed_tokens=40), 40),
    "billed only": (Usage(billed_tokens=60), 60),
    "in total": (Usage(prompt_tokens=50, completion_tokens=7, total_tokens=57), 57),
    "of the prompt": (Usage(prompt_tokens=57), 57),
    "searches only": (Usage(search_units=1.0), None),
    "nothing counted": (None, None),
}


@pytest.mark.parametrize(("usage", "tokens"), TOKENS.values(), ids=TOKENS)
def test_tokens_are_those_that_are_charged_for(usage, tokens) -> None:
    exchange = finished()
    assert exchange.ranking is not None
    exchange.ranking = replace(exchange.ranking, usage=usage)
    assert json.loads(written(exchange)).get("tokens") == tokens


def test_text_for_a_terminal() -> None:
    line = written(finished(), format="text")
    assert "200 cohere/m → cohere/cohere/m 2 documents 25.0 ms (own 1.00)" in line
    assert "request_id=req-1" in line
    assert "the query" not in line


@pytest.mark.parametrize(
    ("level", "status", "shown"),
    [
        pytest.param("info", 200, True, id="info shows success"),
        pytest.param("warning", 200, False, id="warning hides success"),
        pytest.param("warning", 404, False, id="a caller's fault is no warning"),
        pytest.param("warning", 502, True, id="a failure is"),
        pytest.param("error", 502, False, id="but no error"),
    ],
)
def test_level(level, status, shown) -> None:
    assert bool(written(finished(status=status), level=level)) is shown


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "hostile",
    ["a\r\n{}", "a\x1b[2J", "a\x00b", "a\u2028b", "a\u202eb", "a\x85b", "a\u200bb"],
    ids=["line", "escape", "nul", "separator", "bidi", "nel", "zero width"],
)
def test_control_characters_are_stripped(form, hostile) -> None:
    text = written(finished(model=hostile), format=form)
    assert text.count("\n") == 1
    assert not any(character in text.rstrip("\n") for character in "\r\x1b\x00\u2028\u202e\x85\u200b")


def test_content_only_when_asked_for() -> None:
    assert "the query" not in written(finished())
    line = json.loads(written(finished(), ContentSettings(in_logs=True, documents=1, characters=5)))
    assert (line["query"], line["document_texts"], line["documents_left_out"]) == ("the …", ["one"], 1)


def test_a_broken_stream_costs_no_request() -> None:
    stream = io.StringIO()
    log = RequestLog(LogSettings(), ContentSettings(), stream)
    stream.close()
    log.write(finished())


class _Quoting(Exception):
    """Its message is not written in any line of code."""

    def __str__(self) -> str:
        return "-".join(("a", "document"))


def message(as_json: bool, exception_messages: bool) -> str:
    try:
        try:
            raise _Quoting
        except _Quoting as error:
            raise ValueError("-".join(("the", "query"))) from error
    except ValueError as error:
        raised = (type(error), error, error.__traceback__)
        record = logging.LogRecord("gateway", logging.ERROR, "", 1, "failed for %s", ("x\ny",), raised)
    return Formatter(as_json, exception_messages).format(record)


def test_exceptions_show_type_and_place_but_no_message() -> None:
    line = json.loads(message(as_json=True, exception_messages=False))
    assert line["message"] == "failed for x y"
    for shown in ("builtins.ValueError", "_Quoting", "test_logs.py"):
        assert shown in line["exception"]
    for hidden in ("the-query", "a-document"):
        assert hidden not in line["exception"]


def test_exceptions_show_all_when_asked_for() -> None:
    assert "ValueError: the-query" in message(as_json=False, exception_messages=True)
