"""Models that are made of others: what `fuse` and `cascade` become."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.config import chains
from gateway.config.models import ModelSettings
from gateway.config.root import Config
from gateway.policy.cascade import Cascade, Stage
from gateway.policy.fallback import Fallback, Step
from gateway.policy.fusion import Fusion
from gateway.policy.latency import LatencyStats
from gateway.policy.members import Member
from gateway.policy.strategy import Candidate
from gateway.routing.route import Route
from providers.types import Ranking, RerankRequest

Resolve = Callable[[str], Route]
"""Gives the route of a name."""


class NamedModel:
    """A name as a backend: its targets, and what is tried after them.

    Args:
        names: the model and its fallbacks.
        resolve: gives their routes, at the time of the call: a model may be built before its members are.
    """

    def __init__(self, names: Sequence[str], resolve: Resolve) -> None:
        self._names = names
        self._resolve = resolve

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the first target that serves."""
        return await Fallback(steps(self._resolve, self._names, request.call.caller)).rerank(request)

    async def ready(self) -> bool:
        return any([await self._resolve(name).ready() for name in self._names])


def steps(resolve: Resolve, names: Sequence[str], caller: str = "") -> list[Step]:
    """The steps of one request for a model and its fallbacks, given as names in the order to try them.

    No target is among them twice, whatever names lead to it. `caller` is the name of the caller's key.
    """
    if len(names) == 1:
        return resolve(names[0]).steps(caller=caller)
    found: list[Step] = []
    paths: set[str] = set()
    for name in names:
        route = resolve(name)
        found += route.steps(paths, caller)
        paths |= route.paths
    return found


def composite_route(
    config: Config,
    name: str,
    resolve: Resolve,
    is_incoming: Callable[[str], bool],
    comparable: Callable[[Ranking], Ranking],
) -> Route:
    """The route of a model that is made of others.

    Args:
        config: checked: no such model is part of itself.
        name: of the model.
        resolve: gives the routes of its members.
        is_incoming: whether a `provider/model` is a pure function, and so stands for the order of the documents.
        comparable: a ranking with scores that can be added to those of other models, where such can be had.
    """
    settings = config.models[name]

    def member(of: str) -> Member:
        own = config.models.get(of)
        names = [of, *chains.flatten(config.models, of, own.fallbacks if own else [])]
        paths = config.own_paths(of)  # none of a model that is made of others
        is_order = bool(paths) and all(map(is_incoming, paths))
        return Member(of, NamedModel(names, resolve), is_order, own.instruction if own else None)

    members = [member(each) for each in settings.members]
    if settings.fuse:
        fusion = Fusion(name, members, settings.fusion_weights, settings.method, _required(settings), comparable)
        return _route(Step(fusion))
    stages = [Stage(each, stage.keep) for each, stage in zip(members, settings.cascade, strict=True)]
    return _route(Step(Cascade(name, stages), time_shares=len(stages)))


def _required(settings: ModelSettings) -> int:
    return len(settings.fuse) if settings.require is None else settings.require


def _route(step: Step) -> Route:
    return Route.of([Candidate(step, 1.0, LatencyStats())])
