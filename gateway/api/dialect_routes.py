"""The routes of all dialects but the unified one."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from gateway.api import endpoint
from gateway.api.dialect import AnyDialect, DefaultModel
from gateway.api.dialects import cohere, infinity, jina, score, vllm, voyage
from gateway.api.resources import tei as tei_server
from gateway.api.resources import xinference
from gateway.runtime.service import Service


def routes(service: Service) -> list[ControllerRouterHandler]:
    """The routes of those dialects, and of the GETs that their clients send."""
    return [
        *(endpoint.route(service, dialect) for dialect in dialects(lambda: service.routes.default_model())),
        *tei_server.routes(service),
        *xinference.routes(service),
    ]


def dialects(default_model: DefaultModel) -> list[AnyDialect]:
    """The dialects that are ordinary routes. TEI's is missing: it is mounted, since its paths contain the model.

    Args:
        default_model: for requests that name no model, in the dialects that allow it.
    """
    return [
        cohere.v1(),
        cohere.v2(),
        jina.dialect(),
        voyage.dialect(),
        vllm.dialect(default_model),
        score.dialect(default_model),
        infinity.dialect(default_model),
    ]
