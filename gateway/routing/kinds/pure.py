"""Providers that rank by a pure function: no network, no model, no price."""

from __future__ import annotations

from typing import ClassVar

from gateway.access.prices import FREE, Price
from gateway.backends.pure import Passthrough
from gateway.config.root import Config
from gateway.routing.kinds.kind import Description
from gateway.routing.live_provider import Address, LiveProvider
from providers.spec import PureProvider


class PureKind:
    """See Kind."""

    price: ClassVar[Price | None] = FREE
    loads_models: ClassVar[bool] = False

    def __init__(self, config: Config, name: str, provider: PureProvider) -> None:
        self._settings = config.providers[name]
        self._answer_bytes = config.request_limits.answer_bytes
        self.provider = provider

    def open(self, previous: LiveProvider | None) -> LiveProvider:
        return LiveProvider(
            self._settings,
            self._answer_bytes,
            self.provider,
            (Address(Passthrough(self.provider)),),
            is_in_process=True,
            is_instant=True,
        )

    def server(self) -> tuple[str | None, int | None]:
        return None, None

    def describe(self) -> Description:
        return Description("the caller's order")

    @staticmethod
    def default_address(provider: PureProvider) -> str:
        return "in this process"
