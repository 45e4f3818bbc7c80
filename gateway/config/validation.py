"""Validate a configuration: each value by itself, then what they mean together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.config import built_in, chains, extras, kinds
from gateway.config.models import ModelSettings
from gateway.config.parsing import is_consequence, parse
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.errors import ConfigError, Problem
from gateway.suggestions import clause, did_you_mean, near
from providers import registry
from providers.spec import PureProvider


def validate(tree: Any, problems: list[Problem], folder: Path | None = None) -> Config:
    """The tree as a configuration.

    Args:
        tree: plain values, as in the YAML file.
        problems: those found while reading the file.
        folder: of the file, to which names of files are relative; None if there is none.

    Raises:
        ConfigError: with all problems, sorted by their place.
    """
    tree = built_in.fill(tree)
    config, invalid = parse(tree, folder)
    problems = problems + [problem for problem in invalid if not is_consequence(problem, problems)]
    # A section with an invalid value was not read whole, so what its values mean together cannot be judged.
    sections = {_section(problem) for problem in problems}
    problems += [problem for problem in _inconsistencies(config, Written(tree)) if _section(problem) not in sections]
    if problems:
        raise ConfigError(sorted(problems))
    return config


class Written:
    """The names in the tree. What stands under some of them may be wrong, but they are no unknown names.

    Attributes:
        models, providers: their names; None if the section is no mapping.
    """

    def __init__(self, tree: Any) -> None:
        self._providers = _mapping(tree, "providers")
        self.providers = None if self._providers is None else set(self._providers)
        models = _mapping(tree, "models")
        self.models = None if models is None else set(models)

    def has_model(self, name: str) -> bool:
        """Whether that name is, or may be, under `models`."""
        return self.models is None or name in self.models

    def has_local_model(self, provider: str, model: str) -> bool:
        """Whether that provider has such a model of its own."""
        return model in (_mapping(_mapping(self._providers, provider), "models") or {})


def _mapping(tree: Any, name: str) -> dict[str, Any] | None:
    """The mapping of that name; empty if there is none, None if it is something else."""
    value = tree.get(name) if isinstance(tree, dict) else None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _section(problem: Problem) -> str:
    """What is judged as a whole: one provider, one model, all keys, the TLS files."""
    parts = problem.path.split(".")
    return parts[0] if parts[0] == "auth" else ".".join(parts[:2])


def _inconsistencies(config: Config, written: Written) -> Iterator[Problem]:
    """What is wrong although each value is valid."""
    misspelt: set[str] = set()
    for name, settings in config.providers.items():
        for path, message in _provider_problems(config, name, settings, misspelt):
            yield Problem(f"providers.{name}{path}", message)
    yield from _section_problems(config)
    yield from extras.problems(config.server)
    targets = _TargetCheck(config, written, misspelt)
    yield from _model_problems(config, targets)
    named = [(f"calibrations.{path}", path, _is_fused(config, path)) for path in config.calibrations]
    named += [("default_model", config.default_model, True)] if config.default_model else []
    for path, target, alias_allowed in named:
        if fault := targets.problem(target, alias_allowed=alias_allowed):
            yield Problem(path, fault)


def _section_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with sections as a whole."""
    yield from config.auth.problems() if config.auth else []
    yield from config.server.tls.problems() if config.server.tls else []
    if config.cache and config.cache.shared and config.store is None:
        yield Problem("cache.shared", "needs a server: set store")


def _model_problems(config: Config, targets: _TargetCheck) -> Iterator[Problem]:
    """What is wrong with where names lead."""
    for name, model in config.models.items():
        for path, target, alias_allowed in _targets(model):
            if fault := targets.problem(target, alias_allowed=alias_allowed):
                yield Problem(f"models.{name}.{path}", fault)
    yield from chains.problems(config.models)
    for name, model in config.models.items():
        if model.fuse and not _ranks(config, name, frozenset()):
            yield Problem(f"models.{name}.fuse", "names passthroughs alone; add a model that ranks")


def _ranks(config: Config, name: str, above: frozenset[str]) -> bool:
    """Whether that name leads to a model, rather than to passthroughs alone. `above` are the names that led to it."""
    model = config.models.get(name)
    if name in above or model is None or not model.members:
        return name in above or not all(_is_passthrough(config, path) for path in config.own_paths(name))
    deciding = model.fuse or model.members[-1:]  # Of a cascade the last stage's ranking is answered.
    return any(_ranks(config, member, above | {name}) for member in deciding)


def _is_passthrough(config: Config, path: str) -> bool:
    provider = path.partition("/")[0]
    with suppress(LookupError):  # What is unknown is another problem.
        return isinstance(config.adapter(provider), PureProvider)
    return False


def _is_fused(config: Config, name: str) -> bool:
    return name in config.models and bool(config.models[name].fuse)


def _targets(model: ModelSettings) -> list[tuple[str, str, bool]]:
    """Each target of a model: its path, the target, and whether it may be the name of another model."""
    several = [(f"targets.{index}.target", entry.target, False) for index, entry in enumerate(model.targets)]
    single = [("target", model.target, False)] if model.target is not None else []
    shadow = [("shadow.target", model.shadow.target, False)] if model.shadow is not None else []
    fused = [(f"fuse.{index}", name, True) for index, name in enumerate(model.fuse)]
    stages = [(f"cascade.{index}.model", stage.model, True) for index, stage in enumerate(model.cascade)]
    return [
        *single,
        *several,
        *fused,
        *stages,
        *shadow,
        *((f"fallbacks.{index}", name, True) for index, name in enumerate(model.fallbacks)),
    ]


def _provider_problems(
    config: Config, name: str, settings: ProviderSettings, misspelt: set[str]
) -> list[tuple[str, str]]:
    """What is wrong with a provider. The adapters that an unknown one may have meant are added to `misspelt`."""
    if "/" in name:
        return [("", 'a provider\'s name must not contain "/"')]
    try:
        provider = config.adapter(name)
    except LookupError as error:
        known = registry.names()
        wanted = settings.adapter or name
        meant = [] if wanted in known else near(wanted, known)
        misspelt.update(meant)
        reason = f'unknown adapter "{wanted}"{clause(meant)}' if meant else f"{error}."
        return [(".adapter", reason) if settings.adapter else ("", f"{reason} Under another name, set `adapter:`")]
    return kinds.check(provider, settings)


class _TargetCheck:
    """Says what is wrong with a target, unless something else that is wrong has led to it."""

    def __init__(self, config: Config, written: Written, misspelt: set[str]) -> None:
        self._config, self._written, self._misspelt = config, written, misspelt

    def problem(self, target: str, *, alias_allowed: bool) -> str | None:
        if alias_allowed and self._written.has_model(target):
            return None
        provider, slash, model = target.partition("/")
        if alias_allowed and not slash:
            return f'"{target}" is neither a name under models nor of the form provider/model' + did_you_mean(
                target, list(self._config.models)
            )
        if not slash or not provider or not model:
            return f'"{target}" must have the form provider/model'
        if provider not in self._config.providers:
            return self._unknown_provider(provider)
        return self._unknown_model(provider, model)

    def _unknown_provider(self, name: str) -> str | None:
        written = self._written.providers
        if written is None or name in written or name in self._misspelt:
            return None
        hint = did_you_mean(name, list(self._config.providers)) or "; add it under providers"
        return f'unknown provider "{name}"{hint}'

    def _unknown_model(self, provider: str, model: str) -> str | None:
        models = self._config.providers[provider].models
        if models is None or model in models or self._written.has_local_model(provider, model):
            return None
        hint = built_in.command(model) or did_you_mean(model, list(models))
        return f'provider "{provider}" has no model "{model}"' + hint
