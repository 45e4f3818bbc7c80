"""A provider that is a pure function, such as `passthrough`, as a backend."""

from __future__ import annotations

from providers.spec import PureProvider
from providers.types import Ranking, RerankRequest


class Passthrough:
    """Ranks by calling the provider's function, which waits for nothing and cannot fail."""

    def __init__(self, provider: PureProvider) -> None:
        self._provider = provider

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The function's ranking."""
        return self._provider.rank(request)

    async def ready(self) -> bool:
        """Always."""
        return True
