"""Every strict mount, in one list."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from gateway.api import endpoint
from gateway.api.dialect import DefaultModel, Dialect
from gateway.api.dialects import cohere, infinity, jina, score, vllm, voyage
from gateway.api.resources import tei as tei_server
from gateway.api.resources import xinference
from gateway.runtime.service import Service


def routes(service: Service) -> list[ControllerRouterHandler]:
    """The routes of all dialects but the unified one."""

    return [
        *(endpoint.route(service, dialect) for dialect in dialects(lambda: service.routes.default_model())),
        *tei_server.routes(service),
        *xinference.routes(service),
    ]


def dialects(default_model: DefaultModel) -> list[Dialect]:
    """All dialects with a route of their own; the one that is mounted is not among them.

    Args:
        default_model: serves requests that name no model, where a dialect allows that.
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
