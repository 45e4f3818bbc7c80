"""Local models that other processes hold, such as replicas on Ray Serve: behind HTTP, under their names here."""

from __future__ import annotations

from gateway.backends.remote_models import RemoteBackend, RemoteModels
from gateway.config.kinds import remote_adapter
from gateway.config.root import Config
from gateway.routing.kinds.http import HttpKind
from gateway.routing.kinds.kind import Description
from gateway.routing.live_provider import Address, LiveProvider
from providers.spec import LocalProvider
from providers.types import Backend


class RemoteKind(HttpKind):
    """See Kind."""

    def __init__(self, config: Config, name: str, provider: LocalProvider) -> None:
        super().__init__(config, name, remote_adapter(provider))
        self._models = RemoteModels(tuple(self._settings.models or {}))

    def open(self, previous: LiveProvider | None) -> LiveProvider:
        live = super().open(previous)
        live.remote = self._models
        return live

    def describe(self) -> Description:
        described = super().describe()
        return Description(f"{', '.join(self._models.names)} at {described.where}", described.key, described.timeout)

    def _address(self, place: int, backend: Backend) -> Address:
        return super()._address(place, RemoteBackend(backend, self._models))
