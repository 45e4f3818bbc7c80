"""What the gateway asks of a kind of provider."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from msgspec import Struct

from gateway.access.prices import Price
from gateway.config.root import Config
from gateway.routing.live_provider import LiveProvider
from providers.spec import Provider


class Description(Struct, frozen=True):
    """A configured provider for people: where it is (a URL, or its models), its key (masked), its time limit."""

    where: str
    key: str = "none"
    timeout: str = "none"


class Kind(Protocol):
    """One configured provider, not opened.

    Attributes:
        price: what every answer costs; None where the tables of prices say it.
        loads_models: whether its models are loaded into a process of the gateway.
        provider: the adapter, with the provider's options in force.
    """

    price: ClassVar[Price | None]
    loads_models: ClassVar[bool]

    def __init__(self, config: Config, name: str, provider: Any) -> None: ...

    @property
    def provider(self) -> Provider: ...

    def open(self, previous: LiveProvider | None) -> LiveProvider:
        """The provider, live. Nothing is contacted or loaded yet.

        Args:
            previous: the one of that name before a reload, with other settings: what has not changed in it is kept.
        """
        ...

    def server(self) -> tuple[str | None, int | None]:
        """Host and port; None, None for what runs in this process."""
        ...

    def describe(self) -> Description:
        """For the command line."""
        ...

    @staticmethod
    def default_address(provider: Any) -> str:
        """Where an adapter of this kind is if nothing is configured, in words for people."""
        ...
