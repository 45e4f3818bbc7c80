"""The routes that Xinference's clients read before they rerank.

Source: https://github.com/xorbitsai/inference, client and server 4.1.0 (2026-11)

They read whether a key is needed, without sending theirs, and the type of the model; then they use `/v1/rerank`. The
description of a model has OpenAI's fields too, since OpenAI's clients use the same path, `/v1/models/{id}`.
"""

from __future__ import annotations

from time import time
from typing import Any

from litestar import Request, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from gateway.api import auth
from gateway.runtime.service import Service


class ClusterAuth(Struct):
    """Whether requests need a key."""

    auth: bool


class Description(Struct):
    """One model, for clients of Xinference and of OpenAI."""

    id: str
    model_name: str
    owned_by: str
    created: int
    object: str = "model"
    model_type: str = "rerank"
    type: str = "normal"
    language: list[str] = []
    address: str | None = None
    accelerators: list[Any] | None = None


def routes(service: Service) -> list[HTTPRouteHandler]:
    """`/v1/cluster/auth` and `/v1/models/{id}`; the id may contain slashes."""

    started = int(time())

    @get(
        "/v1/cluster/auth",
        sync_to_thread=False,
        summary="Whether a key is needed",
        tags=["xinference"],
        security=[{}],
    )
    def cluster_auth() -> ClusterAuth:
        return ClusterAuth(auth=service.keys is not None)

    @get(
        "/v1/models/{model:path}",
        sync_to_thread=False,
        summary="Describe a model",
        tags=["models"],
    )
    def describe(model: FromPath[str], request: Request[Any, Any, Any]) -> Description:
        name = model.strip("/")
        caller = auth.principal(service, request.scope["headers"])
        caller.check(name)
        if not service.routes.is_known(name):
            raise service.routes.unknown_model(name, caller.may)
        return Description(name, name, service.routes.owner(name), started)

    return [cluster_auth, describe]
