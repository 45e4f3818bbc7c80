"""Open the providers of a configuration: clients, keys, local models. Nothing is contacted or loaded yet."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from msgspec import Struct

from gateway.backends.daemon_thread import in_daemon
from gateway.backends.engine import SOCKET_VARIABLE, open_remote
from gateway.backends.http import HttpBackend
from gateway.backends.local import LocalBackend
from gateway.backends.pure import Passthrough
from gateway.config.providers import ProviderSettings, local_model
from gateway.config.root import Config
from gateway.policy.key_pool import KeyedBackend, KeyPool, KeyState
from gateway.routing.endpoints import client_settings, score_url_of, timeouts_of, url_of
from gateway.transport import open_client
from gateway.transport.base import Client, Timeouts
from providers.errors import RerankError
from providers.spec import HttpProvider, LocalModel, LocalProvider
from providers.types import Backend, ClosableBackend, Resource

logger = logging.getLogger(__name__)


class LiveProvider(Struct, eq=False):
    """One provider, opened.

    Attributes:
        settings: its section of the configuration.
        answer_bytes: the limit its client was opened with.
        backend: what takes any model name; None for a provider of local models.
        models: the local models.
        client: what carries its requests; None if it is not behind HTTP.
    """

    settings: ProviderSettings
    answer_bytes: int
    backend: Backend | None = None
    models: dict[str, LocalBackend] = {}
    client: Client | None = None

    def resources(self) -> Iterator[Resource]:
        """Everything that must be closed."""
        yield from self.models.values()
        if self.client is not None:
            yield self.client

    def key_states(self) -> list[KeyState]:
        """What is known of each of its keys."""
        return [key.state for key in self.backend.keys] if isinstance(self.backend, KeyPool) else []

    async def is_well(self) -> bool:
        """Whether the health check's address answers 2xx in time."""
        check = self.settings.health_check
        if check is None or self.client is None:
            return True
        limits = Timeouts(connect=check.timeout, read=check.timeout, pool=check.timeout, total=check.timeout)
        try:
            answer = await self.client.send("GET", check.url, {"accept": "*/*"}, b"", limits)
        except RerankError:
            return False
        return 200 <= answer.status < 300


def open_providers(config: Config, previous: Mapping[str, LiveProvider]) -> dict[str, LiveProvider]:
    """Every provider of the configuration; those that have not changed are taken over from `before` as they are."""
    return {name: _opened(config, name, previous.get(name)) for name in config.providers}


def _opened(config: Config, name: str, before: LiveProvider | None) -> LiveProvider:
    settings, answer_bytes = config.providers[name], config.request_limits.answer_bytes
    if before is not None and before.settings == settings and before.answer_bytes == answer_bytes:
        return before
    provider = config.adapter(name)
    if isinstance(provider, HttpProvider):
        client = open_client(client_settings(settings, answer_bytes))
        return LiveProvider(settings, answer_bytes, _key_pool(name, provider, settings, client), client=client)
    if isinstance(provider, LocalProvider):
        return LiveProvider(
            settings, answer_bytes, models=_models(_model_opener(config, name, provider), settings, before)
        )
    return LiveProvider(settings, answer_bytes, Passthrough(provider))


def _model_opener(
    config: Config, name: str, provider: LocalProvider
) -> Callable[[LocalModel], Awaitable[ClosableBackend]]:
    """How local models are had: from the engine process if there is one, else by loading them here."""
    socket = os.environ.get(SOCKET_VARIABLE)
    if socket:
        return partial(open_remote, socket, name, provider.fields)
    if config.server.workers > 1:
        logger.warning(
            'provider "%s": every worker loads its own copy of the models; '
            "a restart gives them one engine process for all",
            name,
        )
    return partial(in_daemon, provider.open)


def _models(
    opener: Callable[[LocalModel], Awaitable[ClosableBackend]], settings: ProviderSettings, before: LiveProvider | None
) -> dict[str, LocalBackend]:
    models = {}
    for name, chosen in (settings.models or {}).items():
        model = local_model(name, chosen)
        old = before.models.get(name) if before else None
        models[name] = old if old is not None and old.model == model else LocalBackend(opener, model)
    return models


def _key_pool(name: str, provider: HttpProvider, settings: ProviderSettings, client: Client) -> KeyPool:
    url, score_url, timeouts = url_of(provider, settings), score_url_of(provider, settings), timeouts_of(settings)
    headers = {header: value.get_secret_value() for header, value in settings.headers.items()}
    return KeyPool(
        [
            KeyedBackend(HttpBackend(provider, url, key, client, timeouts, headers, name, score_url), state)
            for key, state in _keys(settings)
        ],
        name,
    )


def _keys(settings: ProviderSettings) -> list[tuple[str | None, KeyState]]:
    if settings.api_keys:
        return [(key.key.get_secret_value(), KeyState(key.name, key.weight)) for key in settings.api_keys]
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return [(key, KeyState("api_key", 1.0))]
