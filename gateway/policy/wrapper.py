"""What every policy has in common: it is a backend around another backend."""

from __future__ import annotations

from providers.types import Backend


class Wrapper:
    """A backend around another one. A policy adds `rerank`; it is ready whenever the backend inside is.

    Attributes:
        backend: the one inside. The policy did not open it, and so never closes it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def ready(self) -> bool:
        """Whether the backend inside could serve a request now."""
        return await self.backend.ready()
