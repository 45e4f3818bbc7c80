"""GET /v1/models: the models known by name, in the form of OpenAI's list."""

from __future__ import annotations

from time import time
from typing import Any

from litestar import Request, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from msgspec import Struct

from gateway.api import auth
from gateway.runtime.service import Service


class Model(Struct):
    """A name that callers may send as `model`."""

    id: str
    created: int
    owned_by: str
    object: str = "model"


class ModelList(Struct):
    """The configured names that the caller's key allows. An upstream's other models work too, but are not listed."""

    data: list[Model]
    object: str = "list"


def route(service: Service) -> HTTPRouteHandler:
    """The route."""
    created = int(time())

    @get(
        "/v1/models",
        sync_to_thread=False,
        summary="List the models that are known by name",
        tags=["models"],
    )
    def list_models(request: Request[Any, Any, Any]) -> ModelList:
        caller = auth.principal(service, request.scope["headers"])
        names = filter(caller.may, service.routes.names())
        return ModelList([Model(name, created, service.routes.owner(name)) for name in names])

    return list_models
