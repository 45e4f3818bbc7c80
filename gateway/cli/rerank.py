"""rerank-gateway rerank"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import msgspec

from gateway.api.dialect import WireDocument
from gateway.api.dialects.unified import answer
from gateway.api.dialects.unified.request import Body, canonical
from gateway.api.request_id import request_id
from gateway.cli.table import table
from gateway.config.loader import read_config
from gateway.routing.endpoints import endpoint
from gateway.runtime.service import Service
from gateway.telemetry.recorder import RequestRecorder
from providers.errors import InvalidRequest, TargetFailed, Unreachable
from providers.types import Call

WIDEST_TEXT = 80


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
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
    reply = _asked(chosen.url, body) if chosen.url else asyncio.run(_ranked_here(chosen.config, body))
    print(json.dumps(reply, indent=2, ensure_ascii=False) if chosen.json else _readable(reply))
    return 0


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


async def _ranked_here(path: str | None, body: Body) -> dict[str, Any]:
    service = Service(read_config(path))
    await service.open()
    try:
        request = canonical(body, Call(id=request_id([]), recorder=RequestRecorder()), service.routes.is_alias)
        await service.load(request.model)
        start = monotonic()
        ranking = await service.rerank(request, [request.model, *service.fallbacks(request.model, None)])
        encoded = answer.encode(ranking, request, body.documents or [], round((monotonic() - start) * 1000))
    finally:
        await service.aclose()
    reply: dict[str, Any] = json.loads(encoded)
    return reply


def _asked(url: str, body: Body) -> dict[str, Any]:
    key = os.environ.get("RERANK_GATEWAY_KEY")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        response = httpx.post(
            endpoint(url, "/v1/rerank"), content=msgspec.json.encode(body), headers=headers, timeout=300
        )
        reply = response.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"cannot reach {url}: {error}") from None
    except ValueError:
        raise TargetFailed(f"{url} does not answer like a rerank-gateway (HTTP {response.status_code})") from None
    if response.status_code != 200 and isinstance(reply, dict) and isinstance(reply.get("message"), str):
        raise InvalidRequest(f"{reply['message']} (HTTP {response.status_code})")
    if response.status_code != 200 or not isinstance(reply, dict) or not {"results", "extra_fields"} <= set(reply):
        raise TargetFailed(f"{url} does not answer like a rerank-gateway (HTTP {response.status_code})")
    return reply


def _readable(reply: dict[str, Any]) -> str:
    rows = [
        [f"{result['relevance_score']:.4f}", str(result["index"]), _text(result["document"])]
        for result in reply["results"]
    ]
    served = f"{reply['extra_fields']['provider']}/{reply['model']}"
    return f"{table(['SCORE', 'INDEX', 'DOCUMENT'], rows)}\n\n{served}, {reply['extra_fields']['latency']} ms"


def _text(document: dict[str, Any]) -> str:
    line = " ".join((document.get("text") or json.dumps(document)).split())
    return line if len(line) <= WIDEST_TEXT else line[: WIDEST_TEXT - 1] + "…"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is not a number from 1')
    return int(text)
