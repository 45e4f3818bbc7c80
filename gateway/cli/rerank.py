"""rerank-gateway rerank"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.api.dialect import WireDocument
from gateway.api.dialects.unified.request import Body
from gateway.cli import answer_formats, document_formats
from gateway.cli.asker import URL_VARIABLE, Asker, Reply, open_asker
from gateway.cli.batches import BATCH_DOCUMENTS, ask_in_parts, batch_size
from gateway.cli.progress import progress
from gateway.server.banner import KEY_VARIABLE
from providers.errors import InvalidRequest, TargetTimeout

_DESCRIPTION = """\
Rank documents by a query.

Documents are read from a file or from standard input: one a line, JSON Lines, a
JSON array, CSV or TSV. In JSON a document is a string, or an object with text, id
and meta. CSV and TSV begin with a line of column names; the only column, or the one
called text, is ranked, and one called id is shown."""

_EPILOG = f"""\
Many documents are sent in parts, whose scores are merged, if the model is known to
score each document by itself (pointwise). A listwise model compares the documents
of one request with each other: its requests are not split.

environment:
  {URL_VARIABLE}  the running gateway to ask, in place of --url
  {KEY_VARIABLE}  the key to send to it
"""


def add_to(commands: Any, path: str | None) -> None:
    """Add the command and its arguments."""
    command: ArgumentParser = commands.add_parser(
        "rerank",
        help="rank the documents of a file",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_argument("--query", required=True, help="what to rank by")
    command.add_argument(
        "--model", help="provider/model, or a name of the configuration; may be left out where there is only one"
    )
    command.add_argument("--top-n", type=_positive, metavar="N", help="how many results to show; default is all")
    command.add_argument("--min-score", type=_number, metavar="X", help="show no result with a lower score")
    command.add_argument("--timeout", type=_seconds, metavar="S", help="seconds after which to give up")
    command.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help=f"documents of one request; default is {BATCH_DOCUMENTS} or the model's limit if it is pointwise, "
        "else all. Where it is unknown how a model scores, this says that it may be split",
    )
    command.add_argument("--url", help="a running gateway to ask; default is to rank in this process")
    command.add_argument("--config", metavar="FILE", help="YAML configuration, when in this process")
    command.add_argument(
        "--from",
        dest="source_format",
        choices=["auto", *document_formats.FORMATS],
        default="auto",
        help="format of the documents; auto knows CSV and TSV by the file's name and the others by what is in it",
    )
    command.add_argument(
        "--to", dest="answer_format", choices=list(answer_formats.FORMATS), default="table", help="format of the answer"
    )
    command.add_argument(
        "--json",
        dest="answer_format",
        action="store_const",
        const="json",
        help="the same as --to json: all of the answer",
    )
    command.add_argument("file", metavar="FILE", nargs="?", default="-", help="the documents; - is standard input")
    command.set_defaults(run=run, default_config=path)


def run(chosen: Namespace) -> int:
    """Rank and print. Raises RerankError, ConfigError, OSError."""
    text = _text_of(chosen.file)
    documents = document_formats.read_documents(text, chosen.source_format, chosen.file)
    if not documents:
        raise InvalidRequest(f"{_name_of(chosen.file)} holds no document to rank")
    _check_characters(chosen.query, documents)
    body = Body(model=chosen.model, query=chosen.query, documents=documents, top_n=chosen.top_n, return_documents=True)
    reply = asyncio.run(_within(chosen.timeout, chosen, body))
    if chosen.min_score is not None:
        reply["results"] = [row for row in reply["results"] if row["relevance_score"] >= chosen.min_score]
    print(answer_formats.FORMATS[chosen.answer_format](reply))
    return 0


async def _within(seconds: float | None, chosen: Namespace, body: Body) -> Reply:
    try:
        async with asyncio.timeout(seconds):
            return await _ask(chosen, body)
    except TimeoutError:
        raise TargetTimeout(f"no complete answer within {seconds:g} s (--timeout)") from None


async def _ask(chosen: Namespace, body: Body) -> Reply:
    url = chosen.url or (None if chosen.config else os.environ.get(URL_VARIABLE))
    async with open_asker(url, chosen.config or chosen.default_config, chosen.timeout) as asker:
        return await _ask_in_bounded_requests(asker, body, chosen.batch_size)


async def _ask_in_bounded_requests(asker: Asker, body: Body, chosen_size: int | None) -> Reply:
    count = len(body.documents or [])
    if body.model is not None and chosen_size is None and count <= BATCH_DOCUMENTS:
        return await asker.ask(body)
    name, facts = await asker.find_model(body.model)
    body = replace(body, model=name)
    size = batch_size(facts, chosen_size)
    if size is None:
        return await asker.ask(body)
    if count <= size:
        return await ask_in_parts(asker, body, size, lambda more: None)
    with progress("ranking documents", count) as advance:
        return await ask_in_parts(asker, body, size, advance)


def _check_characters(query: str, documents: list[WireDocument]) -> None:
    """Raises InvalidRequest for text that is no Unicode: half a character in JSON, or another encoding's argument."""
    for name, value in (("the query", query), *((f"document {index}", each) for index, each in enumerate(documents))):
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            raise InvalidRequest(f"{name} holds half a character (an unpaired surrogate)") from None


def _name_of(file: str) -> str:
    return "standard input" if file == "-" else file


def _text_of(file: str) -> str:
    name = _name_of(file)
    if file == "-" and sys.stdin.isatty():
        print("reading documents from the terminal, one a line; Ctrl-D ends them", file=sys.stderr)
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise OSError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8 text") from None


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is not a number from 1')
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ArgumentTypeError(f'"{text}" is not a number')
    return number


def _seconds(text: str) -> float:
    number = _number(text)
    if number <= 0:
        raise ArgumentTypeError(f'"{text}" is not a number of seconds above 0')
    return number
