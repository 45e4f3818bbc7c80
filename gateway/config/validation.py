"""Validate a configuration: each value by itself, then what they mean together."""

from __future__ import annotations

from typing import Any

from gateway.config import chains, kinds
from gateway.config.models import ModelSettings
from gateway.config.parsing import parse
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.suggestions import did_you_mean


def validate(tree: Any, problems: list[Problem]) -> Config:
    """The tree as a configuration.

    Args:
        tree: plain values, as in the YAML file.
        problems: those found while reading the file.

    Raises:
        ConfigError: with all problems, sorted by their place.
    """
    config, invalid = parse(tree)
    already = {problem.path for problem in problems}
    problems = problems + [problem for problem in invalid if problem.path not in already]
    # A section with an invalid value was not read whole, so what its values mean together cannot be judged.
    sections = {_section(problem) for problem in problems}
    removed = {problem.path for problem in problems}
    problems += [problem for problem in _inconsistencies(config, removed) if _section(problem) not in sections]
    if problems:
        raise ConfigError(sorted(problems))
    return config


def _section(problem: Problem) -> str:
    return ".".join(problem.path.split(".")[:2])


def _inconsistencies(config: Config, removed: set[str]) -> list[Problem]:
    """What is wrong although each value is valid; `removed` are the paths of values that were not."""
    problems: list[Problem] = []
    for name, settings in config.providers.items():
        problems += [
            Problem(f"providers.{name}{path}", message) for path, message in _provider_problems(config, name, settings)
        ]
    problems += config.auth.problems() if config.auth else []
    for name, model in config.models.items():
        for path, target, alias_allowed in _targets(model):
            if removed & {"providers", f"providers.{target.partition('/')[0]}"}:
                continue
            if message := _target_problem(config, target, alias_allowed=alias_allowed):
                problems.append(Problem(f"models.{name}.{path}", message))
    problems += chains.problems(config.models)
    if config.default_model and (message := _target_problem(config, config.default_model, alias_allowed=True)):
        problems.append(Problem("default_model", message))
    return problems


def _targets(model: ModelSettings) -> list[tuple[str, str, bool]]:
    """Each target of a model: its path, the target, and whether it may be the name of another model."""
    several = [(f"targets.{index}.target", entry.target, False) for index, entry in enumerate(model.targets)]
    single = [("target", model.target, False)] if model.target is not None else []
    return [*single, *several, *((f"fallbacks.{index}", name, True) for index, name in enumerate(model.fallbacks))]


def _provider_problems(config: Config, name: str, settings: ProviderSettings) -> list[tuple[str, str]]:
    if "/" in name:
        return [("", 'a provider\'s name must not contain "/"')]
    try:
        provider = config.adapter(name)
    except LookupError as error:
        hint = "" if settings.adapter else "; set `adapter:` to the one to use"
        return [(".adapter", f"{error}{hint}")]
    return kinds.check(provider, settings)


def _target_problem(config: Config, target: str, *, alias_allowed: bool) -> str | None:
    if alias_allowed and target in config.models:
        return None
    provider, slash, model = target.partition("/")
    if alias_allowed and not slash:
        return f'"{target}" is neither a name under models nor of the form provider/model' + did_you_mean(
            target, list(config.models)
        )
    if not slash or not provider or not model:
        return f'"{target}" must have the form provider/model'
    if provider not in config.providers:
        return f'unknown provider "{provider}"' + did_you_mean(provider, list(config.providers))
    models = config.providers[provider].models
    if models is not None and model not in models:
        return f'provider "{provider}" has no model "{model}"' + did_you_mean(model, list(models))
    return None
