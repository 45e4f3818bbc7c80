"""Try one backend after the other until one serves."""

from __future__ import annotations

from collections.abc import Sequence

from providers.errors import RerankError
from providers.types import Attempt, Backend, Ranking, RerankRequest


class Fallback:
    """The first of several backends that answers.

    Every failure moves on, an upstream's 4xx too: what one provider refuses another may take. Only the caller's own
    cancellation does not. When all fail the first error is raised, since it is about the model that was asked for.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = backends

    async def rerank(self, request: RerankRequest) -> Ranking:
        first: RerankError | None = None
        for backend in self.backends:
            try:
                return await backend.rerank(request)
            except RerankError as error:
                first = first or error
        assert first is not None, "a route has at least one target"  # noqa: S101
        raise first

    async def ready(self) -> bool:
        return any([await backend.ready() for backend in self.backends])

    async def aclose(self) -> None:
        for backend in self.backends:
            await backend.aclose()


class Absent:
    """Stands where a name resolves to nothing, so that a fallback behind it still serves."""

    def __init__(self, error: RerankError, provider: str, model: str) -> None:
        self.error = error
        self.provider = provider
        self.model = model

    async def rerank(self, request: RerankRequest) -> Ranking:
        request.call.attempts.append(Attempt(self.provider, self.model, None, self.error.message, 0))
        raise self.error

    async def ready(self) -> bool:
        return False

    async def aclose(self) -> None:
        """Nothing is held."""
