"""Providers behind HTTP: one client, and one backend for each address and key."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from gateway.access.prices import Price
from gateway.backends.auth import open_signer
from gateway.backends.http import HttpBackend, HttpEndpoint
from gateway.backends.server_limits import ServerLimits
from gateway.config import options
from gateway.config.providers import ProviderSettings, capability_corrections, host_and_port
from gateway.config.root import Config
from gateway.policy.key_pool import KeyedBackend, KeyPool
from gateway.policy.key_state import KeyState
from gateway.routing.endpoints import (
    base_urls,
    client_settings,
    display_url,
    health_url_of,
    limits_url_of,
    score_url_of,
    timeouts_of,
    url_of,
)
from gateway.routing.kinds.kind import Description
from gateway.routing.live_provider import Address, LiveProvider
from gateway.transport import open_client
from gateway.transport.base import Client
from providers.spec import HttpProvider
from providers.types import Backend


class HttpKind:
    """See Kind."""

    price: ClassVar[Price | None] = None
    loads_models: ClassVar[bool] = False

    def __init__(self, config: Config, name: str, provider: HttpProvider) -> None:
        self._name = name
        self._settings = config.providers[name]
        self._answer_bytes = config.request_limits.answer_bytes
        self.provider = options.apply(provider, self._settings.options)
        self._base_urls = base_urls(self.provider, self._settings)

    def open(self, previous: LiveProvider | None) -> LiveProvider:
        settings = client_settings(self._settings, self._answer_bytes)
        client = open_client(settings)
        # A connection for each address: a check that hangs at one of them must not keep those of the others waiting.
        checks = replace(settings, max_connections=len(self._base_urls))
        checker = open_client(checks) if self._settings.health_check else None
        pools = [self._keys(base, client) for base in self._base_urls]
        return LiveProvider(
            self._settings,
            self._answer_bytes,
            self.provider,
            [self._address(place, pool) for place, pool in enumerate(pools)],
            client=client,
            checker=checker,
            key_states=[key.state for pool in pools for key in pool.keys],
            limits=self._limits(client),
        )

    def _keys(self, base: str, client: Client) -> KeyPool:
        """The provider's keys at one address. What is known of them is known there: one replica's 429 is its own."""
        endpoint, auth = self._endpoint(base), self.provider.auth
        keys = [
            KeyedBackend(HttpBackend(endpoint, client, open_signer(auth, key)), state)
            for key, state in _keys(self._settings)
        ]
        return KeyPool(keys, self._name)

    def _address(self, place: int, backend: Backend) -> Address:
        base, check = self._base_urls[place], self._settings.health_check
        health_url = health_url_of(base, check.url) if check else ""
        if len(self._base_urls) == 1:
            return Address(backend, health_url=health_url)
        return Address(backend, _name(base), self._settings.base_urls[place].weight, health_url)

    def _limits(self, client: Client) -> ServerLimits | None:
        urls = [url for base in self._base_urls if (url := limits_url_of(self.provider, base))]
        if not urls or self.provider.limits is None:
            return None
        first_key = _keys(self._settings)[0][0]
        return ServerLimits(self._name, urls, self.provider.limits, client, open_signer(self.provider.auth, first_key))

    def server(self) -> tuple[str | None, int | None]:
        return host_and_port(self._base_urls[0])

    def describe(self) -> Description:
        settings = self._settings
        key = "***" if settings.api_key or settings.api_keys else "none"
        where = ", ".join(display_url(self.provider, base) for base in self._base_urls)
        return Description(where, key, f"{settings.timeout:g} s")

    @staticmethod
    def default_address(provider: HttpProvider) -> str:
        return provider.base_url or "set base_url"

    def _endpoint(self, base: str) -> HttpEndpoint:
        settings, provider = self._settings, self.provider
        return HttpEndpoint(
            name=self._name,
            provider=provider,
            url=url_of(provider, base),
            score_url=score_url_of(provider, base),
            timeouts=timeouts_of(settings),
            headers={header: value.get_secret_value() for header, value in settings.headers.items()},
            capabilities=capability_corrections(settings),
        )


def _name(base: str) -> str:
    host, port = host_and_port(base)
    return f"[{host}]:{port}" if ":" in (host or "") else f"{host}:{port}"


def _keys(settings: ProviderSettings) -> list[tuple[str | None, KeyState]]:
    if settings.api_keys:
        return [
            (key.key.get_secret_value(), KeyState(key.name, key.weight, settings.max_cooldown))
            for key in settings.api_keys
        ]
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return [(key, KeyState("api_key", 1.0, settings.max_cooldown))]
