"""GET /v1/models: the models known by name, in the form of OpenAI's list."""

from __future__ import annotations

from time import time
from typing import Any

from litestar import Request, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from msgspec import Struct

from gateway.api import auth
from gateway.routing.facts import facts_of
from gateway.runtime.service import Service
from providers.capabilities import Scoring
from providers.types import ScoreSpace


class Model(Struct):
    """A name that callers may send as `model`.

    Attributes:
        scoring: whether a document's score depends on it and the query alone (pointwise), or also on the other
            documents (listwise), for all targets of the name. If pointwise, scores of several requests can be merged.
        score_space: what a score is, by the name's first target: `probability`, `calibrated`, `logit`, `cosine` or
            `unknown`. What the scores of an answer are is in its `extra_fields`.
        max_documents: documents that each of its targets takes in one call; absent where no limit is known.
    """

    id: str
    created: int
    owned_by: str
    object: str = "model"
    scoring: Scoring = "unknown"
    score_space: ScoreSpace = "unknown"
    max_documents: int | None = None


class ModelList(Struct):
    """The configured names that the caller's key allows. An upstream's other models work too, but are not listed.

    Attributes:
        default_model: what serves where a model may be left out (TEI, vLLM, Infinity, MCP); absent if there is none.
    """

    data: list[Model]
    object: str = "list"
    default_model: str | None = None


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
        default = service.routes.default_model()
        return ModelList(
            [_describe(service, name, created) for name in names],
            default_model=default if default is not None and caller.may(default) else None,
        )

    return list_models


def _describe(service: Service, name: str, created: int) -> Model:
    facts = facts_of(service.config, name)
    owner = service.routes.owner(name)
    return Model(
        name,
        created,
        owner,
        scoring=facts.scoring,
        score_space=service.routes.score_space(name),
        max_documents=facts.documents,
    )
