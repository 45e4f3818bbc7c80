"""What is to be served, and with what: everything that a plan depends on and that nobody but the operator knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gateway.capacity.simulation import Balance
from gateway.errors import ConfigError, Problem
from gateway.settings import Bytes, Seconds, Settings
from gateway.suggestions import did_you_mean

LimitUnit = Literal["requests", "documents", "tokens", "budget", "concurrency"]

Dollars = Annotated[float, Field(ge=0, le=1_000_000)]


class Demand(Settings):
    """The traffic, the machines, what stands behind the gateways, and prices. All keys but `rate` have a default."""

    model_config = ConfigDict(allow_inf_nan=False)

    rate: float = Field(
        ge=0.001, le=100_000_000, description="Requests per second at the peak, of all callers together."
    )
    mean_rate: float | None = Field(
        default=None,
        gt=0,
        description="Requests per second on average over a month; by default those of the peak.",
    )
    documents: int = Field(default=50, ge=1, le=100_000, description="Documents of a request.")
    document_bytes: Bytes = Field(default=1000, ge=1, le=100_000_000, description="Bytes of a document, such as `2KB`.")
    query_bytes: Bytes = Field(default=100, ge=1, le=10_000_000, description="Bytes of a query.")
    spread: float = Field(
        default=0.5,
        ge=0,
        le=3,
        description="How much requests differ in size: standard deviation divided by the average; 0 if they do not.",
    )
    burst: int = Field(default=1, ge=1, le=100_000, description="Requests that arrive at the same moment, on average.")
    latency: Seconds = Field(
        default=0.1, ge=0, le=3600, description="Seconds that the upstream takes for a call, such as `200ms`."
    )
    cache: Literal["none", "memory", "shared"] = Field(
        default="none", description="Where scores are cached: in each process, or in the store."
    )
    cached: float = Field(default=0.0, ge=0, le=1, description="Share of the requests that the cache answers whole.")
    limits: tuple[LimitUnit, ...] = Field(
        default=(), max_length=20, description="What callers are limited by, in a store; one entry for each limit."
    )
    cores: int = Field(default=8, ge=1, le=4096, description="Cores of a gateway's host; each gets a worker.")
    utilisation: float = Field(
        default=0.6,
        ge=0.01,
        le=0.95,
        description="Share of the time in which cores and replicas may be busy at the peak.",
    )
    p99: Seconds | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="Seconds that a request may spend in the gateway and in the engine at the 99th percentile, even "
        "without the spare ones.",
    )
    spare: int = Field(default=1, ge=0, le=1000, description="Hosts, and replicas, that may be lost at the peak.")
    engine: str | None = Field(default=None, description="A local engine that was measured; its cores are added up.")
    documents_per_second: float | None = Field(
        default=None,
        ge=0.001,
        le=100_000_000,
        description="Documents that one replica of your engine scores in a second.",
    )
    replica_cores: int = Field(default=2, ge=0, le=4096, description="Cores of a replica.")
    replica_gpus: float = Field(default=0, ge=0, le=64, description="GPUs of a replica.")
    balance: Balance = Field(
        default="random", description="How requests get to the replicas: to any, or to the one that is free first."
    )
    core_hour: Dollars | None = Field(default=None, description="US dollars for a core for an hour.")
    gpu_hour: Dollars | None = Field(default=None, description="US dollars for a GPU for an hour.")
    model: str | None = Field(default=None, description="A vendor's `provider/model`, whose list price is known.")
    per_search: Dollars | None = Field(default=None, description="US dollars for a search, in place of the list price.")
    per_million_tokens: Dollars | None = Field(
        default=None, description="US dollars for a million tokens, in place of the list price."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Demand:
        if self.mean_rate is not None and self.mean_rate > self.rate:
            raise ValueError("`mean_rate` cannot be above `rate`, which is the peak")
        if self.cached and self.cache == "none":
            raise ValueError("`cached` needs to know where: set `cache` to `memory` or `shared`")
        if self.engine and self.documents_per_second:
            raise ValueError("give `engine`, or `documents_per_second` as you measured it, not both")
        if self.engine and not self.replica_cores:
            raise ValueError("`engine` is one that computes on cores: set `replica_cores` to 1 or more")
        if self.has_engine and (self.model or self.per_search or self.per_million_tokens):
            raise ValueError("an engine of your own has no price by the call: leave out `model`, or the engine")
        return self

    @property
    def has_engine(self) -> bool:
        """Whether an engine of one's own is behind the gateways, and not a vendor or another server."""
        return self.engine is not None or self.documents_per_second is not None

    @property
    def needs_store(self) -> bool:
        """Whether gateways share a Valkey or Redis server."""
        return bool(self.limits) or self.cache == "shared"


def parse(tree: Mapping[str, Any]) -> Demand:
    """The demand in plain values, which may be text as on a command line. Raises ConfigError with all problems."""
    try:
        return Demand.model_validate(dict(tree))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise ConfigError(sorted(map(_problem, details))) from None


def _problem(detail: ErrorDetails) -> Problem:
    name = ".".join(map(str, detail["loc"]))
    match detail["type"]:
        case "extra_forbidden":
            return Problem(name, "unknown key" + did_you_mean(name, list(Demand.model_fields)))
        case "missing":
            return Problem(name, "is required; give the requests per second at the peak")
        case "tuple_type":
            return Problem(name, "must be a list, such as [requests, budget]")
        case "value_error":
            return Problem(name, str(detail["ctx"]["error"]))
    return Problem(name, detail["msg"][0].lower() + detail["msg"][1:])
