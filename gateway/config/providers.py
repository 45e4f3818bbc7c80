"""The section `providers`: how each provider is reached, and the policies around its targets."""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.policy.breaker import BreakerSettings
from gateway.policy.bulkhead import BulkheadSettings
from gateway.policy.health_check import HealthCheckSettings
from gateway.policy.key_pool import Key, KeySettings
from gateway.policy.retry import RetrySettings
from gateway.settings import Settings
from providers.spec import LocalModel

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_FRAMING = frozenset({"connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"})
"""Headers that say how a request is sent, which is not the operator's to say."""


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


class ProviderPolicies(Settings):
    """What guards each target of a provider."""

    api_key: Key | None = Field(default=None, description="The gateway's own key for this provider.")
    api_keys: list[KeySettings] = Field(default=[], description="Several keys, in place of api_key.")
    retry: RetrySettings = Field(default=RetrySettings(), description="When a target is tried again.")
    breaker: BreakerSettings = Field(default=BreakerSettings(), description="When a failing target is left alone.")
    bulkhead: BulkheadSettings = Field(default=BulkheadSettings(), description="How much a target is asked at once.")
    health_check: HealthCheckSettings | None = Field(default=None, description="Ask whether the provider is well.")

    @model_validator(mode="after")
    def _has_one_kind_of_keys(self) -> Self:
        if self.api_key is not None and self.api_keys:
            raise ValueError("give either api_key or api_keys, not both")
        names = [key.name for key in self.api_keys]
        if len(set(names)) < len(names):
            raise ValueError("each of api_keys needs a name of its own")
        return self


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
