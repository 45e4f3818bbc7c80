"""How many copies of a local provider run in a cluster, and what each of them gets: `scale` of a provider."""

from __future__ import annotations

import re
from math import ceil
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from gateway.settings import Settings

MAX_REPLICAS = 1000
"""Copies of one provider: more than any cluster of our kind has GPUs."""


class Bounds(NamedTuple):
    """How many replicas there are at least and at most; where they are equal, nothing is scaled."""

    least: int
    most: int


class ScaleSettings(Settings):
    """Copies of the provider's models in a cluster, for `rerank-gateway ray`; the gateway itself does not read it."""

    replicas: int | str = Field(
        default=1,
        description="Copies of the models: a number, or a range such as `1-8` within which they follow the load.",
    )
    cpus: float = Field(default=1.0, ge=0.1, le=1024, description="Processors of each copy.")
    gpus: float = Field(
        default=0.0,
        ge=0,
        le=64,
        description="GPUs of each copy; a part of one is shared, and with 0 it computes on its processors.",
    )

    @field_validator("replicas", mode="before")
    @classmethod
    def _are_a_number_or_a_range(cls, value: Any) -> Any:
        _bounds(value)
        return value

    @field_validator("gpus")
    @classmethod
    def _are_whole_or_a_part(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("must be a whole number, or a part of one GPU such as 0.5")
        return value

    @property
    def bounds(self) -> Bounds:
        """The range of replicas."""
        return _bounds(self.replicas)

    @property
    def whole_cpus(self) -> int:
        """Threads that the processors of a copy can run at once; at least 1."""
        return max(1, int(self.cpus))

    @property
    def whole_gpus(self) -> int:
        """GPUs that a copy sees."""
        return ceil(self.gpus)


def _bounds(value: Any) -> Bounds:
    """Raises ValueError, saying what to write."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", str(value)) if not isinstance(value, bool) else None
    if found is None:
        raise ValueError("must be a number such as 2, or a range such as `1-8`")
    least, most = int(found[1]), int(found[2] or found[1])
    if least < 1:
        raise ValueError("must be at least 1: a model that nobody holds takes long to come back")
    if most < least:
        raise ValueError(f"is a range from {least} down to {most}; write the smaller number first")
    if most > MAX_REPLICAS:
        raise ValueError(f"must be at most {MAX_REPLICAS}")
    return Bounds(least, most)
