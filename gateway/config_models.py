"""What a configuration is: typed, frozen sections, each with its keys, their defaults and their meaning."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from gateway.access.edge import EdgeSettings
from gateway.access.keys import AuthConfig
from gateway.access.limits import LimitsConfig
from gateway.access.prices import Price
from gateway.access.store_settings import StoreConfig
from gateway.policy.deadline import DeadlineSettings
from gateway.policy.limits import LimitsSettings
from gateway.policy.settings import ProviderPolicies, RoutePolicies
from gateway.settings import Settings
from gateway.telemetry.settings import TelemetrySettings
from providers import registry
from providers.spec import LocalModel, Provider

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_FRAMING = frozenset({"connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"})
"""Headers that say how a request is sent, which is not the operator's to say."""


class ServerConfig(EdgeSettings):
    """Where the gateway listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve requests, one per core at most.")
    drain: float = Field(
        default=1.0, ge=0, le=300, description="Seconds after SIGTERM in which callers are still served, and sent away."
    )
    grace: float = Field(
        default=30.0, ge=0, le=3600, description="Seconds that requests under way may still take after that."
    )


class LocalModelConfig(Settings):
    """One model that runs inside the gateway."""

    path: str = Field(
        min_length=1, description="Folder, Hub name, or `package:import_name/folder` of an installed package."
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Expected hash of model.safetensors."
    )
    revision: str | None = Field(default=None, description="Hub revision to load.")
    trust_remote_code: bool = Field(default=False, description="Run code that the model repository brings along.")
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Number format; `auto` is bfloat16 where the device computes it natively."
    )
    activation: Literal["default", "sigmoid", "none"] = Field(
        default="default", description="What is applied to the logit."
    )
    label: str | None = Field(default=None, description="Which label's score counts, for a model with several.")
    max_length: int | None = Field(default=None, ge=8, description="Window in tokens; default is the model's own.")
    long_documents: Literal["truncate", "chunk_max"] = Field(
        default="truncate", description="What to do beyond the window."
    )
    threads: int | None = Field(default=None, ge=1, description="Compute threads; default is one per core.")
    batch_tokens: int | None = Field(default=None, ge=16, description="Padded tokens per forward pass.")
    queue_tokens: int | None = Field(default=None, ge=16, description="Tokens that may wait; more is answered 429.")


class ProviderConfig(ProviderPolicies):
    """Where and who: one upstream account, or the models that run inside the gateway."""

    adapter: str | None = Field(default=None, description="Which adapter speaks to it; default is the provider's name.")
    base_url: str | None = Field(default=None, description="Base or full endpoint; default is the vendor's.")
    headers: dict[str, SecretStr] = Field(default={}, description="Constant headers to send along.")
    timeout: float = Field(default=30.0, gt=0, le=3600, description="Seconds one attempt may take in all.")
    connect_timeout: float = Field(default=5.0, gt=0, le=600, description="Seconds to get a new connection.")
    pool_timeout: float = Field(default=5.0, gt=0, le=600, description="Seconds to wait for one of max_connections.")
    max_connections: int = Field(default=1000, ge=1, description="Open connections to this provider.")
    client: Literal["default", "aiohttp", "httpx"] = Field(
        default="default", description="HTTP client; aiohttp costs more CPU, httpx much more, but speaks SOCKS."
    )
    proxy: str = Field(
        default="environment", repr=False, description="`environment`, `none`, or the URL of an HTTP proxy."
    )
    ca_file: str | None = Field(default=None, description="PEM file of authorities to trust besides the system's.")
    client_cert: str | None = Field(
        default=None, description="PEM file of our certificate, for servers that demand one."
    )
    client_key: str | None = Field(default=None, description="PEM file of its key, if the certificate's file lacks it.")
    models: dict[str, LocalModelConfig] | None = Field(
        default=None, description="For the adapter `local`: what to load."
    )

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/?#\s@]+(/[^?#\s]*)?$", value):
            raise ValueError("must be an http:// or https:// URL without credentials, query or fragment")
        if value is not None:
            _check_host(value)
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text.get_secret_value()):
                raise ValueError(f'"{name}" is not a header that can be sent: a name, and a value on one ASCII line')
            if name.lower() in _FRAMING:
                raise ValueError(f'"{name}" is set by the gateway itself, for every request')
        return value

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: str) -> str:
        if value not in ("environment", "none") and not re.match(r"(https?|socks5h?)://[^/?#\s]+/?$", value):
            raise ValueError("must be environment, none, or a URL such as http://proxy.example:3128")
        return value


class ModelConfig(RoutePolicies):
    """A name that callers may use instead of `provider/model`."""

    fallbacks: list[str] = Field(default=[], description="`provider/model` entries or other names, tried in order.")


Name = Annotated[str, Field(min_length=1)]


def _empty_if_null(value: object) -> object:
    """`cohere:` with nothing behind it is an entry without settings."""
    return {} if value is None else value


EmptyIfNull = BeforeValidator(_empty_if_null)


class Config(Settings):
    """The whole configuration."""

    auth: AuthConfig | None = Field(default=None, description="Who may call; without it, only this machine may.")
    server: Annotated[ServerConfig, EmptyIfNull] = ServerConfig()
    deadline: DeadlineSettings = Field(default=DeadlineSettings(), description="How long a whole call may take.")
    limits: LimitsSettings = Field(default=LimitsSettings(), description="How large requests and answers may be.")
    providers: Annotated[dict[Name, Annotated[ProviderConfig, EmptyIfNull]], EmptyIfNull] = Field(
        default={}, description="The name is what callers write before the first /."
    )
    models: Annotated[dict[Name, ModelConfig], EmptyIfNull] = Field(
        default={}, description="Names that callers may use instead of provider/model."
    )
    default_model: Name | None = Field(
        default=None,
        description="What serves requests of dialects without a model (TEI); unset, the only name if there is one.",
    )
    telemetry: TelemetrySettings = Field(default=TelemetrySettings(), description="Traces, metrics and logs.")

    rate_limits: LimitsConfig | None = Field(default=None, description="What all callers together may take.")
    prices: dict[Name, Price] = Field(
        default={}, description="Prices by provider/model, over those that come along; `*` stands for any characters."
    )
    store: StoreConfig | None = Field(
        default=None, description="Where limits, budgets and usage are counted; default is each process for itself."
    )

    def paths(self, name: str) -> list[str]:
        """The `provider/model` of each target that a name leads to."""
        model = self.models.get(name)
        return [entry.target for entry in model.all_targets] if model else [name]

    def adapter(self, name: str) -> Provider:
        """The adapter of the provider of that name. Raises LookupError if there is none."""
        return registry.find(self.providers[name].adapter or name)


def local_model(name: str, settings: LocalModelConfig) -> LocalModel:
    """The engine's own form of one model's settings."""
    return LocalModel(name=name, **settings.model_dump())


def _check_host(url: str) -> None:
    """Raises ValueError for a host or port that no request could be sent to."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for one that is none
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError("names a host or port that cannot be one") from None
