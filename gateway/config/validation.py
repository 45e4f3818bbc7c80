"""Whether a configuration is right: every value of its kind, and all of them together. Every problem at once."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from gateway.config.models import ModelSettings
from gateway.config.providers import ProviderSettings, local_model
from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.suggestions import did_you_mean
from gateway.transport.network import tls_context
from providers.spec import HttpProvider, LocalProvider

_KINDS = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be text; put it in quotes",
    "invalid_key": "a key must be text; put it in quotes",
}
"""Our words for pydantic's types of problem, where its own speak of Python."""


def checked(tree: Any, problems: list[Problem]) -> Config:
    """The tree as a Config. What is wrong is noted, cut out, and the rest checked on, so that all is told at once.

    Args:
        tree: plain values, as they stand in the YAML.
        problems: what was found while reading it.

    Raises:
        ConfigError: with every problem.
    """
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


def _section(problem: Problem) -> str:
    return ".".join(problem.path.split(".")[:2])


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


def _targets(model: ModelSettings) -> list[tuple[str, str, bool]]:
    """Where each target of a model is written, what it is, and whether it may be another model's name."""
    several = [(f"targets.{index}.target", entry.target, False) for index, entry in enumerate(model.targets)]
    single = [("target", model.target, False)] if model.target is not None else []
    return [*single, *several, *((f"fallbacks.{index}", name, True) for index, name in enumerate(model.fallbacks))]


def _provider_problems(config: Config, name: str, settings: ProviderSettings) -> list[tuple[str, str]]:
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


def _http_problems(provider: HttpProvider, settings: ProviderSettings) -> list[tuple[str, str]]:
    problems = []
    if settings.models is not None:
        problems.append((".models", f"only a local provider has models to load; {provider.name} takes any model name"))
    if not settings.base_url and not provider.base_url:
        problems.append((".base_url", "is required: this adapter has no default address"))
    if provider.key_required and not (settings.api_key or settings.api_keys or settings.base_url):
        variable = provider.api_key_env or "A_VARIABLE"
        problems.append((".api_key", f'is required, for example "${{{variable}}}"'))
    return problems + _certificate_problems(settings)


def _certificate_problems(settings: ProviderSettings) -> list[tuple[str, str]]:
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


def _local_problems(provider: LocalProvider, settings: ProviderSettings) -> list[tuple[str, str]]:
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
    if alias_allowed and not slash:
        return f'"{target}" is neither a name of models nor provider/model' + did_you_mean(target, list(config.models))
    if not slash or not provider or not model:
        return f'"{target}" must have the form provider/model'
    if provider not in config.providers:
        return f'unknown provider "{provider}"' + did_you_mean(provider, list(config.providers))
    models = config.providers[provider].models
    if models is not None and model not in models:
        return f'provider "{provider}" has no model "{model}"' + did_you_mean(model, list(models))
    return None
