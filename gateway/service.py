"""Resolve the model, run its route, give the ranking."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.policy.fallback import Fallback
from gateway.routing import Routes
from providers.types import Ranking, RerankRequest


async def rerank(routes: Routes, request: RerankRequest, fallbacks: Sequence[str] | None = None) -> Ranking:
    """Rank by the request's model, else by its fallbacks in order.

    Args:
        routes: what names resolve to.
        request: validated; its `model` is the name that the caller wrote.
        fallbacks: the caller's own; None means those configured for the model.

    Raises:
        RerankError: the first target's error, when none could serve. `request.call.attempts` holds all.
    """
    names = [request.model, *(routes.fallbacks(request.model) if fallbacks is None else fallbacks)]
    if len(names) == 1:
        return await routes.resolve(request.model).rerank(request)
    return await Fallback([routes.resolve(name) for name in names]).rerank(request)
