"""The section `providers`: how each provider is reached, and the policies around its targets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from gateway.backends.retry_after import MAX_RETRY_AFTER_SECONDS
from gateway.config.scale import ScaleSettings
from gateway.policy.breaker import BreakerSettings
from gateway.policy.bulkhead import BulkheadSettings
from gateway.policy.cooldown import MAX_SECONDS
from gateway.policy.health_check import HealthCheckSettings
from gateway.policy.key_pool import Key, ProviderKeySettings
from gateway.policy.long_texts import LongDocuments
from gateway.policy.retry import RetrySettings
from gateway.policy.strategy import Strategy
from gateway.settings import Bytes, FileName, Seconds, Settings, folder_of, in_folder
from providers.capabilities import Capabilities, Limits, Scoring
from providers.spec import LocalModel
from providers.types import ScoreSpace

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_HTTP_URL = re.compile(r"https?://[^/?#\s\x00-\x1f\x7f@]+(/[^?#\s\x00-\x1f\x7f]*)?(\?[^#\s\x00-\x1f\x7f]*)?")
_PROXY_URL = re.compile(r"(https?|socks5h?)://[^/?#\s\x00-\x1f\x7f]+/?")

_FRAMING = frozenset({"connection", "content-length", "expect", "te", "transfer-encoding", "upgrade"})
"""Headers that frame a request on its connection: the HTTP client sets them, and a second value would break it."""


def _beside_the_configuration(path: str, info: ValidationInfo) -> str:
    """The path of a folder, which is relative to the configuration's file; a package's or the Hub's name as it is."""
    folder = folder_of(info)
    if folder is None or path.startswith(("package:", "~")):
        return path
    # Beside a configuration that is named without a folder `./model` would become `model`: a name of the Hub.
    beside = in_folder(path, folder.absolute())
    return beside if path.startswith(".") or Path(beside).is_dir() else path


def _tokenizer_beside(path: str, info: ValidationInfo) -> str:
    """The path of a file or folder, which is relative to the configuration's file; a name of the Hub as it is."""
    folder = folder_of(info)
    if folder is None or path.startswith("~"):
        return path
    beside = in_folder(path, folder.absolute())
    return beside if path.startswith(".") or Path(beside).exists() else path


class LocalModelSettings(Settings):
    """One model that runs inside the gateway."""

    path: Annotated[str, AfterValidator(_beside_the_configuration)] = Field(
        min_length=1,
        description="Folder, name on the Hugging Face Hub, `package:import_name/folder` of an installed package, or "
        "`installed:NAME` of a model that `rerank-gateway models install` fetched.",
    )
    sha256: str | None = Field(
        default=None,
        description="SHA-256 that model.safetensors must have; any other file is refused.",
    )
    revision: str | None = Field(default=None, description="Revision to load from the Hub.")
    trust_remote_code: bool = Field(default=False, description="Run Python code from the model's repository.")
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        default="auto",
        description="Number format; `auto` is bfloat16 where the device computes it natively, else float32. "
        "`int8` is for x86 processors that do not.",
    )
    activation: Literal["default", "sigmoid", "none"] = Field(
        default="default", description="Function applied to the logits; `default` is the model's own."
    )
    label: str | None = Field(default=None, description="The label whose score is used, for a model with several.")
    pad_token: str | None = Field(
        default=None,
        description="Token that fills a batch; default is the tokenizer's pad token, else its end of text.",
    )
    max_length: int | None = Field(
        default=None, ge=8, description="Tokens of query and document together; default is the model's own limit."
    )
    long_documents: Literal["truncate", "chunk_max"] = Field(
        default="truncate",
        description="For documents over `max_length`: cut them, or score them in chunks and keep the highest score.",
    )
    threads: int | None = Field(default=None, ge=1, description="Threads for computation; default is one per core.")
    batch_tokens: int | None = Field(default=None, ge=16, description="Tokens per forward pass, padding included.")
    queue_tokens: int | None = Field(
        default=None, ge=16, description="Tokens that may wait in the queue; further requests get 429."
    )
    lexical: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Weight of the query's words found in a document, which are added to the model's score; 0 is off.",
    )
    vector_cache_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory for vectors of documents seen before, for an embedding model; 0 is off, default is 64 MiB.",
    )

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise ValueError("must be 64 hex digits, as `sha256sum model.safetensors` prints them")
        return value and value.lower()

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
            hint = "; did you mean `cuda`?" if value.lower().startswith(("gpu", "nvidia", "cuda")) else ""
            raise ValueError(f"must be `auto`, `cpu`, `cuda`, `cuda:1` (the second GPU) or `mps`{hint}")
        return value


Limit = Annotated[int, Field(ge=1)]


class CallLimitsSettings(Settings):
    """Limits of one call to the provider; those left out are the adapter's."""

    documents: Limit | None = Field(default=None, description="Documents in one call; more are split, or get 413.")
    body_bytes: Annotated[Bytes, Field(ge=1)] | None = Field(
        default=None, description="Bytes of the request body; more are split, or get 413."
    )
    tokens_per_query: Limit | None = Field(default=None, description="Tokens of the query.")
    tokens_per_document: Limit | None = Field(default=None, description="Tokens of each document.")
    tokens_per_pair: Limit | None = Field(default=None, description="Tokens of the query and one document together.")
    tokens_per_call: Limit | None = Field(default=None, description="Tokens of the query and all documents together.")


class CapabilitiesSettings(Settings):
    """What a model accepts and what its scores mean; what is left out is as the adapter declares it."""

    limits: CallLimitsSettings = CallLimitsSettings()
    scoring: Scoring = Field(
        default="unknown",
        description="Whether a score depends only on the query and its own document (`pointwise`), "
        "or also on the other documents (`listwise`).",
    )
    score_space: ScoreSpace = Field(
        default="unknown",
        description="Meaning of a score: `probability` from 0 to 1, `calibrated` if also comparable between queries, "
        "`logit` for any real number, `cosine` from -1 to 1.",
    )
    multimodal: bool | None = Field(
        default=None, description="Whether the model reads pictures and other content parts, or text alone."
    )
    long_documents: LongDocuments | None = Field(
        default=None,
        description="Texts over the limits on tokens: `truncate` cuts them, `chunk_max` ranks a document by its best "
        "window, `error` is a 413; default leaves them to the provider.",
    )
    tokenizer: Annotated[str, AfterValidator(_tokenizer_beside)] | None = Field(
        default=None,
        min_length=1,
        description="The model's tokenizer, to count its tokens: a `tokenizer.json`, a folder with one, or a name on "
        "the Hugging Face Hub; default is an estimate that is never too low.",
    )
    instruction: bool | None = Field(
        default=None,
        description="Whether the model follows an `instruction`; if not, it gets none, and the answer says so.",
    )


MAX_ADDRESSES = 64
"""Addresses of one provider: each keeps breakers of its own for every model."""


def _is_http(value: str) -> str:
    """The URL. Raises ValueError unless it is one that requests can be sent to."""
    if not _HTTP_URL.fullmatch(value):
        raise ValueError("must be an http:// or https:// URL without credentials or fragment")
    _check_host(value)
    return value


BaseUrl = Annotated[str, AfterValidator(_is_http)]


class AddressSettings(Settings):
    """One of several addresses of a provider."""

    url: BaseUrl = Field(description="Base URL or full endpoint, as `base_url`.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="Share of the calls, relative to the other addresses; for the strategies `weighted` and `sticky`.",
    )


def _url_alone(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


Address = Annotated[AddressSettings, BeforeValidator(_url_alone, json_schema_input_type=BaseUrl | AddressSettings)]
"""A URL, or a URL with a weight."""


class ProviderSettings(Settings):
    """One upstream account, or the models that run inside the gateway."""

    adapter: str | None = Field(
        default=None, description="The adapter that translates for this provider; default is the provider's name."
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="Base URL or full endpoint; default is the vendor's. For the adapter `local`: where its models are "
        "served, such as on Ray Serve, in place of loading them here.",
    )
    base_urls: list[Address] = Field(
        default=[],
        max_length=MAX_ADDRESSES,
        description="Several addresses that serve the same models, in place of `base_url`: URLs, or `{url, weight}`.",
    )
    strategy: Strategy = Field(
        default="weighted",
        description="How the first of `base_urls` is chosen; if a call there fails, it goes to another.",
    )
    api_key: Key | None = Field(default=None, description="The key that the gateway sends to this provider.")
    api_keys: list[ProviderKeySettings] = Field(default=[], description="Several keys, in place of `api_key`.")
    max_cooldown: Seconds = Field(
        default=MAX_SECONDS,
        gt=0,
        le=MAX_RETRY_AFTER_SECONDS,
        description="Seconds after which a refused or limited key is tried again, whatever `Retry-After` says.",
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Headers to add to every request.")
    timeout: Seconds = Field(default=30.0, gt=0, le=3600, description="Seconds for one attempt, from start to end.")
    connect_timeout: Seconds = Field(default=5.0, gt=0, le=600, description="Seconds to open a connection.")
    pool_timeout: Seconds = Field(
        default=5.0, gt=0, le=600, description="Seconds to wait for a free connection once `max_connections` are open."
    )
    max_connections: int = Field(default=1000, ge=1, description="Open connections to this provider.")
    client: Literal["default", "aiohttp", "httpx"] = Field(
        default="default", description="HTTP client; aiohttp costs more CPU, httpx much more, but it speaks SOCKS."
    )
    proxy: str = Field(
        default="environment",
        repr=False,
        description="`environment` (HTTPS_PROXY and its like), `none`, or the URL of an HTTP proxy.",
    )
    ca_file: FileName | None = Field(
        default=None, description="PEM file with CA certificates to trust, in addition to the system's."
    )
    client_cert: FileName | None = Field(
        default=None, description="PEM file with the gateway's certificate, for servers that require one."
    )
    client_key: FileName | None = Field(
        default=None, description="PEM file with its key; not needed if `client_cert` also holds the key."
    )
    retry: RetrySettings = Field(default=RetrySettings(), description="Retries of a failed call.")
    breaker: BreakerSettings = Field(
        default=BreakerSettings(), description="Circuit breaker: stops calls to a target that keeps failing."
    )
    bulkhead: BulkheadSettings = Field(default=BulkheadSettings(), description="Concurrent calls per target.")
    health_check: HealthCheckSettings | None = Field(default=None, description="Active health check.")
    models: dict[str, LocalModelSettings] | None = Field(
        default=None,
        description="For the adapter `local`: the models to load, by name; default is the gateway's own.",
    )
    scale: ScaleSettings | None = Field(
        default=None, description="For the adapter `local`: its copies in a cluster (`rerank-gateway ray`)."
    )
    options: dict[str, Any] = Field(default={}, repr=False, description="Settings that only this adapter has.")
    capabilities: dict[Annotated[str, Field(min_length=1)], CapabilitiesSettings] = Field(
        default={},
        description="Corrections of what the adapter declares, by model; `*` matches any characters, "
        "and the more specific pattern wins.",
    )

    @model_validator(mode="after")
    def _has_one_kind_of_keys(self) -> Self:
        if self.api_key is not None and self.api_keys:
            raise ValueError("set either api_key or api_keys, not both")
        names = [key.name for key in self.api_keys]
        if len(set(names)) < len(names):
            raise ValueError("two of api_keys have the same name; give each its own")
        return self

    @model_validator(mode="after")
    def _has_one_kind_of_addresses(self) -> Self:
        if self.base_url is not None and self.base_urls:
            raise ValueError("set either base_url or base_urls, not both")
        if self.strategy != "weighted" and not self.base_urls:
            raise ValueError("strategy is for base_urls; a model's own strategy chooses among its targets")
        places = [host_and_port(address.url) for address in self.base_urls]
        if twice := next((place for place in places if places.count(place) > 1), None):
            told = "each must be a server of its own; give one of them more weight instead"
            raise ValueError(f"two of base_urls have the host {twice[0]} and the port {twice[1]}: {told}")
        return self

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text.get_secret_value()):
                raise ValueError(
                    f'"{name}" is not a valid header; it needs a name, and a value that is one line of ASCII text'
                )
            if name.lower() in _FRAMING:
                raise ValueError(f'"{name}" cannot be set here; the HTTP client sets it for every request')
        return value

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: str) -> str:
        if value not in ("environment", "none") and not _PROXY_URL.fullmatch(value):
            raise ValueError("must be `environment`, `none`, or a URL such as http://proxy.example:3128")
        return value

    @property
    def addresses(self) -> list[AddressSettings]:
        """Where it is, whether written as `base_url` or as `base_urls`; none if the adapter knows it."""
        return self.base_urls or ([AddressSettings(url=self.base_url)] if self.base_url is not None else [])


def host_and_port(url: str) -> tuple[str | None, int]:
    """Of a URL; the port is the scheme's where none is written."""
    parts = urlsplit(url)
    return parts.hostname, (443 if parts.scheme == "https" else 80) if parts.port is None else parts.port


def local_model(name: str, settings: LocalModelSettings) -> LocalModel:
    """One model's settings as the adapter `local` takes them."""
    return LocalModel(name=name, **settings.model_dump())


def capability_corrections(settings: ProviderSettings) -> dict[str, Capabilities]:
    """The operator's corrections in the form in which adapters declare capabilities."""
    return {
        pattern: Capabilities(
            limits=Limits(**chosen.limits.model_dump()),
            scoring=chosen.scoring,
            score_space=chosen.score_space,
            multimodal=chosen.multimodal,
            instruction=chosen.instruction,
        )
        for pattern, chosen in settings.capabilities.items()
    }


def _check_host(url: str) -> None:
    """Raises ValueError unless the host can be looked up (IDNA) and the port is a number up to 65535."""
    try:
        parts = urlsplit(url)
        if parts.port == 0:  # Reading it raises ValueError if it is no port at all.
            raise ValueError
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError("the host or the port is not valid") from None
