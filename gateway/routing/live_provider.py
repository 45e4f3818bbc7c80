"""A provider of the configuration, opened."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gateway.backends.local import LocalBackend
from gateway.backends.server_limits import ServerLimits
from gateway.config.providers import ProviderSettings
from gateway.policy.key_state import KeyState
from gateway.transport.base import Client, Timeouts
from providers.errors import Overloaded, RerankError
from providers.spec import Provider
from providers.types import Backend, Resource


class LiveProvider(Struct, eq=False):
    """One provider, opened.

    Attributes:
        settings: its section of the configuration.
        answer_bytes: the limit its client was opened with.
        adapter: with the provider's options in force.
        backend: what takes any model name; None for a provider of local models.
        models: the local models.
        client: what carries its requests; None if it is not behind HTTP.
        checker: what carries its health checks: a client of its own, so that they never wait for its requests.
        key_states: what is known of each of its keys.
        limits: what the server tells of its limits; None if it tells none.
        is_in_process: whether its backends work inside the gateway, so that it is the gateway that ends their calls at
            the deadline and scores pairs by several calls.
        is_instant: whether it takes no time and cannot fail, so that no policy could do anything for it.
    """

    settings: ProviderSettings
    answer_bytes: int
    adapter: Provider
    backend: Backend | None = None
    models: dict[str, LocalBackend] = {}
    client: Client | None = None
    checker: Client | None = None
    key_states: list[KeyState] = []
    limits: ServerLimits | None = None
    is_in_process: bool = False
    is_instant: bool = False

    def resources(self) -> Iterator[Resource]:
        """Everything that must be closed."""
        yield from self.models.values()
        yield from (client for client in (self.client, self.checker) if client is not None)

    async def is_well(self) -> bool | None:
        """Whether the health check's address answers 2xx in time; None if it could not be asked for want of means."""
        check = self.settings.health_check
        if check is None or self.checker is None:
            return True
        limits = Timeouts(connect=check.timeout, read=check.timeout, pool=check.timeout, total=check.timeout)
        try:
            answer = await self.checker.send("GET", check.url, {"accept": "*/*"}, b"", limits)
        except Overloaded:
            return None
        except RerankError:
            return False
        return 200 <= answer.status < 300
