"""rerank-gateway mcp"""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from gateway.cli.asker import HTTP_TIMEOUT, URL_VARIABLE, key_headers, models_url
from gateway.config import extras
from gateway.errors import ConfigError, Problem
from gateway.routing.endpoints import endpoint
from gateway.server.banner import KEY_VARIABLE

if TYPE_CHECKING:
    from gateway.api.mcp.tools import Headers, HttpAnswer, Send


def add_to(commands: Any, path: str | None) -> None:
    """Add the command and its arguments."""
    command: ArgumentParser = commands.add_parser(
        "mcp",
        help="be a tool of an agent, by the Model Context Protocol over standard input and output",
        description="Offer the tools rerank and list_rerankers to the agent that starts this command, by the Model "
        f"Context Protocol over standard input and output. A running gateway does the work; {KEY_VARIABLE} is the key "
        "to send to it.",
    )
    command.add_argument(
        "--url", default=os.environ.get(URL_VARIABLE), help=f"the running gateway; default is {URL_VARIABLE}"
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Serve until standard input ends. Raises ConfigError, and InvalidRequest for a key that is none."""
    if problem := extras.mcp_problem():
        raise ConfigError([Problem("", problem)])
    if not chosen.url:
        raise ConfigError([Problem("", f"name the running gateway with --url, or in {URL_VARIABLE}")])
    asyncio.run(_serve(chosen.url))
    return 0


async def _serve(url: str) -> None:
    from mcp.server.stdio import stdio_server

    from gateway.api.mcp.tools import build_server

    async with _over_http(url) as send, stdio_server() as (incoming, outgoing):
        server = build_server(send)
        await server.run(incoming, outgoing, server.create_initialization_options())


@asynccontextmanager
async def _over_http(url: str) -> AsyncIterator[Send]:
    """What reaches a gateway at that URL, with the key in the environment. Raises InvalidRequest if that is none."""
    from gateway.api.mcp.tools import HttpAnswer, ToolFailed

    own, shown = key_headers(), _without_password(url)

    async def send(method: str, path: str, headers: Headers, body: bytes) -> HttpAnswer:
        place = models_url(url) if method == "GET" else endpoint(url, path)
        try:
            reply = await client.request(method, place, content=body, headers=own)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolFailed(f"cannot reach the gateway at {shown}: {error}") from None
        return HttpAnswer(reply.status_code, reply.content, "x-gateway-degraded" in reply.headers)

    async with httpx.AsyncClient(timeout=HTTP_TIMEOUT) as client:
        yield send


def _without_password(url: str) -> str:
    """What is told to a model, which may tell it to anybody."""
    scheme, slashes, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return scheme + slashes + place.rpartition("@")[2] + slash + path.partition("?")[0]
