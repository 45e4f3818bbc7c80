"""The routes of a text-embeddings-inference server: rerank, `/info` and `/health`, for each model.

Source: https://github.com/huggingface/text-embeddings-inference, version 1.9.3 (2026-11)

Clients read `model_type`, `max_input_length` and `max_client_batch_size` of `/info`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.handlers import asgi
from litestar.handlers.asgi_handlers import ASGIRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gateway.access.keys import ANYONE, Principal
from gateway.api import auth, errors
from gateway.api.dialects import tei
from gateway.api.endpoint import Endpoint
from gateway.api.http import method, respond
from gateway.errors import UnknownModel
from gateway.runtime.service import Service
from providers.errors import NotReady, RerankError

MAX_INPUT_LENGTH = 512
"""Tokens that `/info` gives if the model's own limit is unknown, as for upstreams; every reranker takes as many."""

MAX_BATCH = 1000
"""Texts per request that `/info` gives, unless the gateway takes fewer: more would only be split."""

READ = ("info", "health")
"""Operations that are a GET."""

Headers = Iterable[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode


class Labels(Struct):
    """The labels of a classifier; a reranker has one."""

    id2label: dict[str, str] = msgspec.field(default_factory=lambda: {"0": "LABEL_0"})
    label2id: dict[str, int] = msgspec.field(default_factory=lambda: {"LABEL_0": 0})


class ModelType(Struct):
    """The kind of the model, as the name of the only key."""

    reranker: Labels = msgspec.field(default_factory=Labels)


class Info(Struct):
    """The server and its model."""

    model_id: str
    max_input_length: int
    version: str
    model_sha: str | None = None
    model_dtype: str = "float32"
    model_type: ModelType = msgspec.field(default_factory=ModelType)
    max_concurrent_requests: int = 512
    max_batch_tokens: int = 16384
    max_batch_requests: int | None = None
    max_client_batch_size: int = MAX_BATCH
    auto_truncate: bool = True
    tokenization_workers: int = 1
    sha: str | None = None
    docker_label: str | None = None


def routes(service: Service) -> list[ASGIRouteHandler | HTTPRouteHandler]:
    """`/tei/…` for every model, and `/info` for clients that cannot add a path to the server's address."""
    dialect = tei.dialect(lambda: service.routes.default_model())
    endpoint = Endpoint(service, dialect)

    # POST to `/` too: there the real server runs whatever its model does, which here is to rerank.
    @asgi("/tei", is_mount=True, copy_scope=False, name=dialect.name)
    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not path.startswith("/"):  # Litestar routes /teifoo to the mount, too.
            raise NotFoundException
        operation, is_get = path.strip("/").rpartition("/")[2], method(scope) == "GET"
        if operation == "rerank" or (operation == "" and not is_get):
            return await endpoint(scope, receive, send)
        if operation in READ and not is_get:
            body = _encode(tei.ErrorBody("use GET", "Validation"))
            return await respond(scope, send, 405, body, {"allow": "GET, HEAD"})
        status, body, headers = await answer(service, path, scope["headers"])
        return await respond(scope, send, status, body, headers)

    @get(
        "/info",
        sync_to_thread=False,
        summary="The default model, as text-embeddings-inference says it",
        tags=["tei"],
    )
    def root_info(request: Request[Any, Any, Any]) -> Info:
        return info(service, None, request.scope["headers"])

    return [server, root_info]


async def answer(service: Service, path: str, headers: Headers) -> tuple[int, bytes, dict[str, str]]:
    """The status, the body and the headers for a GET relative to the mount."""
    operation = path.strip("/").rpartition("/")[2]
    try:
        model = tei.model_in(path)
        if operation == "info":
            return 200, _encode(info(service, model, headers)), {}
        if operation == "health":
            await check_health(service, model, headers)
            return 200, b"{}", {}
    except RerankError as error:
        body = tei.ErrorBody(error.message, "Unhealthy" if operation == "health" else "Validation")
        return tei.status(error), _encode(body), errors.headers(error)
    body = tei.ErrorBody("not found; there are POST /rerank, GET /info and GET /health", "Validation")
    return 404, _encode(body), {}


def info(service: Service, model: str | None, headers: Headers) -> Info:
    """Describe that model, or the default one if None. Raises Unauthorized, ModelNotAllowed, UnknownModel."""
    caller = auth.principal(service, headers)
    name = _allowed_model(service, model, caller)
    windows = [backend.window() for backend in service.routes.local_models(name)]
    return Info(
        name,
        (windows[0] if windows else None) or MAX_INPUT_LENGTH,
        version("rerank-gateway"),
        max_client_batch_size=min(MAX_BATCH, service.config.request_limits.documents),
    )


async def check_health(service: Service, model: str | None, headers: Headers) -> None:
    """Raises NotReady if that model (or the default one, if None) cannot serve, UnknownModel if there is none.

    Probes send no key, so the default model's health needs none. For other models a key is required, or strangers could
    find out their names.
    """
    caller = ANYONE if model is None else auth.principal(service, headers)
    name = _allowed_model(service, model, caller)
    if not await service.routes.resolve(name).ready():
        raise NotReady(f'model "{name}" is not ready')


def _allowed_model(service: Service, model: str | None, caller: Principal) -> str:
    name = model or service.routes.default_model()
    if name is None:
        raise UnknownModel(tei.MESSAGES.model)
    caller.check(name)
    if not service.routes.is_known(name):
        raise service.routes.unknown_model(name, caller.may)
    return name
