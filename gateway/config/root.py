"""The whole configuration: one field per section of the YAML file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PrivateAttr

from gateway.access.keys import AuthSection
from gateway.access.limits import RateLimitSettings
from gateway.access.prices import Price
from gateway.access.store_settings import StoreSettings
from gateway.cache.settings import CacheSettings
from gateway.config import chains
from gateway.config.calibrations import CalibrationSettings
from gateway.config.limits import RequestLimitSettings
from gateway.config.models import ModelSection
from gateway.config.providers import ProviderSettings
from gateway.config.server import ServerSettings
from gateway.policy.deadline import DeadlineSettings
from gateway.settings import Settings
from gateway.telemetry.settings import TelemetrySettings
from providers import registry
from providers.spec import Provider

Name = Annotated[str, Field(min_length=1)]


def _empty_if_null(value: object) -> object:
    """YAML reads `cohere:` with nothing after it as null; we take it for an entry with default settings."""
    return {} if value is None else value


EmptyIfNull = BeforeValidator(_empty_if_null)


class Config(Settings):
    """The whole configuration, frozen."""

    auth: AuthSection | None = Field(
        default=None,
        description="Keys that callers need. If absent, the gateway listens on loopback addresses only.",
    )
    server: Annotated[ServerSettings, EmptyIfNull] = ServerSettings()
    deadline: DeadlineSettings = Field(
        default=DeadlineSettings(), description="Time limit of a whole request, all attempts included."
    )
    request_limits: RequestLimitSettings = Field(
        default=RequestLimitSettings(), description="Maximum sizes of requests and answers."
    )
    providers: Annotated[dict[Name, Annotated[ProviderSettings, EmptyIfNull]], EmptyIfNull] = Field(
        default={}, description="Providers by name; callers write the name before the first `/` of a model."
    )
    models: Annotated[dict[Name, ModelSection], EmptyIfNull] = Field(
        default={}, description="Names that callers may use in place of `provider/model`."
    )
    default_model: Name | None = Field(
        default=None,
        description="Model for requests without one, where that is allowed: those of TEI, vLLM and Infinity, MCP and "
        "the command line; `/v1/rerank` and the other vendors' paths require `model`. Default is the only name in "
        "/v1/models, or the best of the gateway's own models where a local provider names none.",
    )
    telemetry: TelemetrySettings = Field(default=TelemetrySettings(), description="Traces, metrics and logs.")

    rate_limits: RateLimitSettings | None = Field(
        default=None, description="Rate limits for all callers together, and by model."
    )
    prices: dict[Name, Price] = Field(
        default={}, description="Prices by `provider/model`, before the built-in ones; `*` matches any characters."
    )
    calibrations: dict[Name, CalibrationSettings] = Field(
        default={},
        description="What makes probabilities of a model's scores, by `provider/model`, as `rerank-gateway eval` "
        "prints it; for `scores: probability`.",
    )
    cache: CacheSettings | None = Field(
        default=None,
        description="Keep scores, so that a document that was scored before is not sent again; off by default.",
    )
    store: StoreSettings | None = Field(
        default=None,
        description="Shared counters for limits, budgets and usage; by default each process counts for itself.",
    )

    _files: frozenset[Path] = PrivateAttr(default=frozenset())

    @property
    def files(self) -> frozenset[Path]:
        """The files that it was made of, beside its own: callers' keys, texts of canaries. No certificates, which are
        followed by whoever uses them."""
        keys = {Path(self.auth.file)} if self.auth and self.auth.file else set()
        return self._files | keys

    def note_files(self, files: Iterable[Path]) -> None:
        """Say which files' content is part of the values."""
        self._files = frozenset(files)

    def paths(self, name: str) -> list[str]:
        """The `provider/model` of each target behind that name; for a model that is made of others, of all of them."""
        return list(dict.fromkeys(path for each in self.reach(name) for path in self.own_paths(each)))

    def own_paths(self, name: str) -> list[str]:
        """The `provider/model` of each target of that name itself."""
        model = self.models.get(name)
        return [entry.target for entry in model.all_targets] if model else [name]

    def reach(self, name: str) -> list[str]:
        """That name, the models that it is made of, and theirs, with their fallbacks; each once."""
        found = {name: None}
        waiting = [name]
        for each in waiting:  # It grows.
            model = self.models.get(each)
            for member in model.members if model else ():
                own = self.models.get(member)
                names = [member, *chains.flatten(self.models, member, own.fallbacks if own else ())]
                waiting += [new for new in names if new not in found]
                found |= dict.fromkeys(names)
        return list(found)

    def adapter(self, name: str) -> Provider:
        """The adapter of that provider. Raises LookupError if no adapter has its name."""
        return registry.find(self.providers[name].adapter or name)
