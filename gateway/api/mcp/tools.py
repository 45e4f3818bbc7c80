"""The two tools, `rerank` and `list_rerankers`: each is a request to the gateway's own HTTP interface.

So a tool is validated, admitted, limited, counted and traced as any other request, and works the same wherever the
gateway is: in this process, or behind a URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from msgspec import UNSET, Struct

MAX_NAMES_SHOWN = 20
"""Names of models that one message holds."""

Headers = Mapping[str, str]
ShapeT = TypeVar("ShapeT")


class HttpAnswer(Struct, frozen=True):
    """An answer of the gateway.

    Attributes:
        status: of HTTP.
        body: complete.
        is_degraded: whether no model ranked; see the header `x-gateway-degraded`.
    """

    status: int
    body: bytes
    is_degraded: bool = False


Send = Callable[[str, str, Headers, bytes], Awaitable[HttpAnswer]]
"""Sends one request to the gateway: method, path, the agent's own headers, body."""


class ToolFailed(Exception):
    """The gateway did not do what the tool asked for. Its text is for the model to read."""


class Rerank(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The arguments of `rerank`. Their values are checked by the gateway, as in every request."""

    query: Any = UNSET
    documents: Any = UNSET
    top_n: Any = UNSET
    model: Any = UNSET
    min_score: Any = UNSET
    instruction: Any = UNSET


class _Row(Struct):
    index: int
    relevance_score: float | None = None


class _Warning(Struct):
    message: str


class _Extra(Struct):
    warnings: list[_Warning] = []


class _Answer(Struct):
    model: str
    results: list[_Row]
    extra_fields: _Extra


class _Listed(Struct):
    id: str
    owned_by: str = ""
    scoring: str = "unknown"
    score_space: str = "unknown"
    max_documents: int | None = None


class _Listing(Struct):
    data: list[_Listed]
    default_model: str | None = None


class _Refusal(Struct):
    message: str


_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_RERANK_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {**_TEXT, "description": "What the documents are ranked by: a question or keywords."},
        "documents": {"type": "array", "items": _TEXT, "minItems": 1, "description": "The texts to rank."},
        "top_n": {"type": "integer", "minimum": 1, "description": "How many results to return; default is all."},
        "model": {**_TEXT, "description": "A name that list_rerankers gives; may be left out if there is a default."},
        "min_score": {**_NUMBER, "description": "Leave out documents with a lower score."},
        "instruction": {**_TEXT, "description": "What relevance means here, for models that follow instructions."},
    },
    "required": ["query", "documents"],
    "additionalProperties": False,
}
_RESULT = {
    "type": "object",
    "properties": {"index": {"type": "integer"}, "relevance_score": {"type": ["number", "null"]}, "text": _TEXT},
    "required": ["index", "text"],
}
_RERANK_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": _TEXT,
        "degraded": {"type": "boolean", "description": "No model ranked: the documents are in the order given."},
        "results": {"type": "array", "items": _RESULT, "description": "Best first."},
        "warnings": {"type": "array", "items": _TEXT, "description": "What was asked for and could not be done."},
    },
    "required": ["model", "degraded", "results"],
}
_LIST_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "default_model": {"type": ["string", "null"]},
        "rerankers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "model": _TEXT,
                    "provider": _TEXT,
                    "scoring": _TEXT,
                    "score_space": _TEXT,
                    "max_documents": {"type": ["integer", "null"]},
                },
                "required": ["model"],
            },
        },
    },
    "required": ["rerankers"],
}
_READS = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
TOOLS = [
    types.Tool(
        name="rerank",
        title="Rank documents by relevance",
        description="Sort documents by how relevant each is to a query, best first, with a score for each. Use it "
        "after a search, to keep the few results that answer the question.",
        input_schema=_RERANK_INPUT,
        output_schema=_RERANK_OUTPUT,
        annotations=_READS,
    ),
    types.Tool(
        name="list_rerankers",
        title="List the models that can rank",
        description="The names to use as `model` of rerank, and what their scores mean.",
        input_schema={"type": "object", "properties": {}, "additionalProperties": False},
        output_schema=_LIST_OUTPUT,
        annotations=_READS,
    ),
]


def build_server(send: Send) -> Server[Any]:
    """The MCP server whose tools ask a gateway.

    Args:
        send: reaches the gateway. What it raises as ToolFailed is told to the model.
    """

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=TOOLS)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        headers: Headers = getattr(context.request, "headers", None) or {}
        try:
            return _result(await _call(params.name, params.arguments or {}, send, headers))
        except ToolFailed as failure:
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(failure))], is_error=True)

    return Server(
        "rerank-gateway",
        version=version("rerank-gateway"),
        instructions="Ranks texts by their relevance to a query.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _call(name: str, arguments: dict[str, Any], send: Send, headers: Headers) -> dict[str, Any]:
    if name == "list_rerankers":
        return _show_listing(await _list(send, headers))
    if name != "rerank":
        raise ToolFailed(f'there is no tool "{name[:100]}"; the tools are rerank and list_rerankers')
    try:
        body = msgspec.convert(arguments, Rerank)
    except msgspec.ValidationError as error:
        raise ToolFailed(f"{error}; the arguments are {', '.join(Rerank.__struct_fields__)}") from None
    if body.model is UNSET or body.model is None:
        body.model = _default_model(await _list(send, headers))
    answer = await send("POST", "/v1/rerank", headers, msgspec.json.encode(body))
    return _show_ranking(_read(answer, _Answer), body.documents, answer.is_degraded)


async def _list(send: Send, headers: Headers) -> _Listing:
    return _read(await send("GET", "/v1/models", headers, b""), _Listing)


def _read(answer: HttpAnswer, shape: type[ShapeT]) -> ShapeT:
    try:
        if answer.status == 200:
            return msgspec.json.decode(answer.body, type=shape)
        message = msgspec.json.decode(answer.body, type=_Refusal).message
    except msgspec.DecodeError:
        raise ToolFailed(f"the gateway answered something unexpected (HTTP {answer.status})") from None
    raise ToolFailed(f"{message} (HTTP {answer.status})")


def _default_model(listing: _Listing) -> str:
    names = [model.id for model in listing.data]
    if listing.default_model is not None:
        return listing.default_model
    if len(names) == 1:
        return names[0]
    if not names:
        raise ToolFailed("name a model as provider/model: none is configured by name")
    more = ", …" if len(names) > MAX_NAMES_SHOWN else ""
    raise ToolFailed(f"name one of these models: {', '.join(names[:MAX_NAMES_SHOWN])}{more}")


def _show_ranking(answer: _Answer, documents: list[Any], is_degraded: bool) -> dict[str, Any]:
    rows = [
        {"index": row.index, "relevance_score": row.relevance_score, "text": _text_of(documents[row.index])}
        for row in answer.results
    ]
    warnings = [warning.message for warning in answer.extra_fields.warnings]
    return {"model": answer.model, "degraded": is_degraded, "results": rows, "warnings": warnings}


def _text_of(document: Any) -> str:
    """A document as the text that the tool promises. The gateway takes more than the tool asks for, such as objects."""
    text = document.get("text") if isinstance(document, dict) else document
    return text if isinstance(text, str) else msgspec.json.encode(document).decode()


def _show_listing(listing: _Listing) -> dict[str, Any]:
    rerankers = [
        {
            "model": model.id,
            "provider": model.owned_by,
            "scoring": model.scoring,
            "score_space": model.score_space,
            "max_documents": model.max_documents,
        }
        for model in listing.data
    ]
    return {"default_model": listing.default_model, "rerankers": rerankers}


def _result(content: dict[str, Any]) -> types.CallToolResult:
    """The content twice: structured, and as text for clients that know nothing else."""
    text = msgspec.json.encode(content).decode()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=content)
