"""A provider of the configuration, opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from gateway.backends.local import LocalBackend
from gateway.backends.remote_models import RemoteModels
from gateway.backends.server_limits import ServerLimits
from gateway.config.providers import ProviderSettings
from gateway.policy.key_state import KeyState
from gateway.transport.base import Client, Timeouts
from providers.errors import Overloaded, RerankError
from providers.spec import Provider
from providers.types import Backend, Resource, ScoreSpace


class Address(Struct, frozen=True):
    """One address of a provider, or the one place inside the gateway where it is.

    Attributes:
        backend: what calls it, with any of the provider's keys.
        name: its host and port, where there are several addresses; else "".
        weight: its share of the calls, relative to the other addresses.
        health_url: what its health check asks; "" if it has none.
    """

    backend: Backend
    name: str = ""
    weight: float = 1.0
    health_url: str = ""


class LiveProvider(Struct, eq=False):
    """One provider, opened.

    Attributes:
        settings: its section of the configuration.
        answer_bytes: the limit its client was opened with.
        adapter: with the provider's options in force.
        addresses: where any model name is taken; none of a provider of local models, unless other processes hold them.
        models: the local models that this process, or its engine process, holds.
        remote: the local models that other processes hold, which are all that the addresses take then.
        client: what carries its requests; None if it is not behind HTTP.
        checker: what carries its health checks: a client of its own, so that they never wait for its requests.
        key_states: what is known of each of its keys, at each of its addresses.
        limits: what the server tells of its limits; None if it tells none.
        is_in_process: whether its backends work inside the gateway, so that it is the gateway that ends their calls at
            the deadline and scores pairs by several calls.
        is_instant: whether it takes no time and cannot fail, so that no policy could do anything for it.
    """

    settings: ProviderSettings
    answer_bytes: int
    adapter: Provider
    addresses: Sequence[Address] = ()
    models: dict[str, LocalBackend] = {}
    remote: RemoteModels | None = None
    client: Client | None = None
    checker: Client | None = None
    key_states: list[KeyState] = []
    limits: ServerLimits | None = None
    is_in_process: bool = False
    is_instant: bool = False

    @property
    def takes_any_model(self) -> bool:
        """Whether callers may write whatever name the provider knows."""
        return bool(self.addresses) and self.remote is None

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of its models; none where they are the provider's own affair."""
        return self.remote.names if self.remote else tuple(self.models)

    def score_space(self, name: str) -> ScoreSpace:
        """What the scores of that model are, where the provider knows it of itself."""
        if self.remote is not None:
            return self.remote.score_space(name)
        return self.models[name].score_space() if name in self.models else "unknown"

    def resources(self) -> Iterator[Resource]:
        """Everything that must be closed."""
        yield from self.models.values()
        yield from (each for each in (self.limits, self.client, self.checker) if each is not None)

    def places(self, model: str) -> Sequence[Address]:
        """Where that model is; empty if there is no such model. Whether an upstream has it is not known."""
        if self.remote is not None and model not in self.remote.names:
            return ()
        local = self.models.get(model)
        return self.addresses if local is None else (Address(local),)

    async def is_well(self, url: str) -> bool | None:
        """Whether that URL answers 2xx in the health check's time; None if it could not be asked for want of means."""
        check = self.settings.health_check
        if check is None or self.checker is None:
            return True
        limits = Timeouts(connect=check.timeout, read=check.timeout, pool=check.timeout, total=check.timeout)
        try:
            answer = await self.checker.send("GET", url, {"accept": "*/*"}, b"", limits)
        except Overloaded:
            return None
        except RerankError:
            return False
        return 200 <= answer.status < 300
