"""Every strict mount, in one list."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from gateway.api import endpoint
from gateway.api.dialects import cohere, infinity, jina, score, tei_server, vllm, voyage, xinference
from gateway.service import Service


def routes(service: Service) -> list[ControllerRouterHandler]:
    """The routes of all dialects but the unified one."""

    def default_model() -> str | None:
        return service.routes.default_model()

    dialects = [
        cohere.v1(),
        cohere.v2(),
        jina.dialect(),
        voyage.dialect(),
        vllm.dialect(default_model),
        score.dialect(default_model),
        infinity.dialect(default_model),
    ]
    return [
        *(endpoint.route(service, dialect) for dialect in dialects),
        *tei_server.routes(service),
        *xinference.routes(service),
    ]
