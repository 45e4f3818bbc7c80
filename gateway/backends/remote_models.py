"""Local models that other processes hold: a fixed set of names, and what their scores are, as their answers say it."""

from __future__ import annotations

from collections.abc import Sequence

from providers.errors import Rejected, TargetFailed
from providers.types import Backend, Ranking, RerankRequest, ScoreSpace

NOT_FOUND = 404


class RemoteModels:
    """What is known of the models of a provider, though this process holds none of them.

    Args:
        names: of the models.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._spaces: dict[str, ScoreSpace] = {}

    def learn(self, ranking: Ranking, request: RerankRequest) -> None:
        """Keep what an answer says of the scores."""
        # With a wish, such as `use_activation: false`, the scores may be others than those without.
        if ranking.score_space != "unknown" and not request.extra:
            self._spaces[request.model] = ranking.score_space

    def score_space(self, name: str) -> ScoreSpace:
        """What the scores of that model are; unknown until it has answered once."""
        return self._spaces.get(name, "unknown")


class RemoteBackend:
    """One address of those that hold the models.

    Args:
        backend: asks them.
        models: learn from their answers.
    """

    def __init__(self, backend: Backend, models: RemoteModels) -> None:
        self._backend, self._models = backend, models

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the backend.

        Raises:
            TargetFailed: nothing is served there. Behind other addresses a 404 is the caller's mistake, but this name
                is one that the configuration promises.
            RerankError: what else the backend raises.
        """
        try:
            ranking = await self._backend.rerank(request)
        except Rejected as error:
            if error.status != NOT_FOUND:
                raise
            raise TargetFailed(
                f'no "{request.model}" is served at base_url (404): what holds it is still starting, '
                "has another configuration, or is at another path",
                status=error.status,
            ) from None
        self._models.learn(ranking, request)
        return ranking

    async def ready(self) -> bool:
        """Whether a request may be sent now."""
        return await self._backend.ready()
