"""GET /v1/models: what can be asked for, in OpenAI's list shape."""

from __future__ import annotations

from time import time

from litestar import get
from litestar.handlers.http_handlers import HTTPRouteHandler
from msgspec import Struct

from gateway.api import auth
from gateway.service import Service


class Model(Struct):
    """One name that callers may send."""

    id: str
    created: int
    owned_by: str
    object: str = "model"


class ModelList(Struct):
    """All names that are known by name; an upstream's own models can be asked for without being listed."""

    data: list[Model]
    object: str = "list"


def route(service: Service) -> HTTPRouteHandler:
    """The listing of one configuration."""
    created = int(time())

    @get(
        "/v1/models",
        sync_to_thread=False,
        summary="List the models that are known by name",
        tags=["models"],
        guards=[auth.guard(service)],
    )
    def list_models() -> ModelList:
        return ModelList([Model(name, created, service.routes.owner(name)) for name in service.routes.names()])

    return list_models
