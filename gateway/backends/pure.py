"""Providers that rank by a pure function, as backends."""

from __future__ import annotations

from providers.spec import PureProvider
from providers.types import Ranking, RerankRequest


class Passthrough:
    """A pure provider: needs no time, and cannot fail."""

    def __init__(self, provider: PureProvider) -> None:
        self._provider = provider

    async def rerank(self, request: RerankRequest) -> Ranking:
        return self._provider.rank(request)

    async def ready(self) -> bool:
        return True
