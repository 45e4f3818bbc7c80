"""What a target is called."""

from __future__ import annotations

from msgspec import Struct


class TargetId(Struct, frozen=True):
    """A configured provider and one of its models; as text `provider/model`, as configurations and callers write it.

    Attributes:
        provider, model: their names.
        address: host and port, where the provider has several addresses and one of them is meant; else "".
    """

    provider: str
    model: str
    address: str = ""

    @classmethod
    def parse(cls, path: str) -> TargetId:
        """Split at the first slash, because models may have slashes of their own. Without a slash, no model."""
        provider, _, model = path.partition("/")
        return cls(provider, model)

    def __str__(self) -> str:
        at = f" at {self.address}" if self.address else ""
        return f"{self.provider}/{self.model}{at}"
