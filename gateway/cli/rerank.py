"""rerank-gateway rerank"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

import msgspec

from gateway.api.dialect import WireDocument
from gateway.api.dialects.unified.answer import Answer, EchoedDocument
from gateway.api.dialects.unified.request import Body
from gateway.cli.asker import Reply, open_asker
from gateway.cli.table import table
from providers.errors import InvalidRequest

MAX_TEXT = 80
"""Characters of a document that are shown."""


def add_to(commands: Any, path: str | None) -> None:
    """Add the command and its arguments."""
    command: ArgumentParser = commands.add_parser(
        "rerank",
        help="rank the lines of a file",
        description="Rank documents by a query: one a line, or JSON Lines (strings or objects with text, id, meta).",
    )
    command.add_argument("--model", required=True, help="provider/model, or a name of the configuration")
    command.add_argument("--query", required=True, help="what to rank by")
    command.add_argument("--top-n", type=_positive, metavar="N", help="how many results to show; default is all")
    command.add_argument("--url", help="a running gateway to ask; default is to rank in this process")
    command.add_argument("--config", metavar="FILE", default=path, help="YAML configuration, when in this process")
    command.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    command.add_argument("file", metavar="FILE", nargs="?", default="-", help="the documents; - is standard input")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Rank and print. Raises RerankError, ConfigError, OSError."""
    documents = read_documents(_text_of(chosen.file))
    body = Body(model=chosen.model, query=chosen.query, documents=documents, top_n=chosen.top_n, return_documents=True)
    reply = asyncio.run(_ask(chosen.url, chosen.config, body))
    print(json.dumps(reply, indent=2, ensure_ascii=False) if chosen.json else _readable(reply))
    return 0


async def _ask(url: str | None, config: str | None, body: Body) -> Reply:
    async with open_asker(url, config) as asker:
        return await asker.ask(body)


def read_documents(text: str) -> list[WireDocument]:
    """One document a line: JSON Lines if the first is a JSON string or object, else plain text. Blank lines are none.

    Raises InvalidRequest, naming the line, for JSON Lines with something else in between.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines or _json(lines[0][1]) is None:
        return [line.rstrip("\r") for _, line in lines]
    documents = [(number, _json(line)) for number, line in lines]
    for number, document in documents:
        if document is None:
            raise InvalidRequest(f"line {number} is not a JSON string or object, as the first line is")
    return [document for _, document in documents]


def _json(line: str) -> WireDocument:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str | dict) else None


def _text_of(file: str) -> str:
    name = "standard input" if file == "-" else file
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise OSError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8 text") from None


def _readable(reply: Reply) -> str:
    answer = msgspec.convert(reply, Answer)
    rows = [[f"{result.relevance_score:.4f}", str(result.index), _text(result.document)] for result in answer.results]
    return f"{table(['SCORE', 'INDEX', 'DOCUMENT'], rows)}\n\n{_served(answer)}, {answer.extra_fields.latency} ms"


def _served(answer: Answer) -> str:
    """`provider/model`; with the alias that was asked for before it: `best → cohere/rerank-v3.5`."""
    fields = answer.extra_fields
    target = f"{fields.provider}/{fields.resolved_model_used or answer.model}"
    asked = fields.original_model_requested
    return target if asked in (None, target) else f"{asked} → {target}"


def _text(document: EchoedDocument | None) -> str:
    """The document in one line that fits; content parts as JSON."""
    text = "" if document is None else document.text or json.dumps(msgspec.to_builtins(document))
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is not a number from 1')
    return int(text)
