"""Providers of models inside the gateway: each model is a backend that waits for its loading."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

from gateway.access.prices import Price
from gateway.backends.engine import SOCKET_VARIABLE, open_remote
from gateway.backends.local import LocalBackend
from gateway.backends.model_loads import ModelLoads
from gateway.config.providers import local_model
from gateway.config.root import Config
from gateway.routing.kinds.kind import Description
from gateway.routing.live_provider import LiveProvider
from providers.spec import LocalModel, LocalProvider
from providers.types import ClosableBackend

logger = logging.getLogger(__name__)

MODEL_LOADS = ModelLoads()


class LocalKind:
    """See Kind."""

    price: ClassVar[Price | None] = None
    loads_models: ClassVar[bool] = True

    def __init__(self, config: Config, name: str, provider: LocalProvider) -> None:
        self._name = name
        self._config = config
        self._settings = config.providers[name]
        self.provider = provider

    def open(self, previous: LiveProvider | None) -> LiveProvider:
        opener, models = self._model_opener(), {}
        for name, chosen in (self._settings.models or {}).items():
            model = local_model(name, chosen)
            old = previous.models.get(name) if previous else None
            models[name] = old if old is not None and old.model == model else LocalBackend(opener, model)
        answer_bytes = self._config.request_limits.answer_bytes
        return LiveProvider(self._settings, answer_bytes, self.provider, models=models, is_in_process=True)

    def server(self) -> tuple[str | None, int | None]:
        return None, None

    def describe(self) -> Description:
        models = (self._settings.models or {}).items()
        return Description(", ".join(f"{name} ({chosen.path})" for name, chosen in models))

    @staticmethod
    def default_address(provider: LocalProvider) -> str:
        return "in this process"

    def _model_opener(self) -> Callable[[LocalModel], Awaitable[ClosableBackend]]:
        """How models are had: from the engine process if there is one, else by loading them here."""
        socket = os.environ.get(SOCKET_VARIABLE)
        if socket:
            return partial(open_remote, socket, self._name, self.provider.fields)
        if self._config.server.workers > 1:
            logger.warning(
                'provider "%s": every worker loads its own copy of the models; '
                "a restart gives them one engine process for all",
                self._name,
            )
        return partial(MODEL_LOADS.open, self.provider.open)
