"""What a target is called."""

from __future__ import annotations

from msgspec import Struct


class TargetId(Struct, frozen=True):
    """A configured provider and one of its models; as text `provider/model`, as configurations and callers write it."""

    provider: str
    model: str

    @classmethod
    def parse(cls, path: str) -> TargetId:
        """Split at the first slash, because models may have slashes of their own. Without a slash, no model."""
        provider, _, model = path.partition("/")
        return cls(provider, model)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"
