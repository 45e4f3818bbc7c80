"""What is known of the models to measure before they are asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from msgspec import Struct

from evaluation.errors import EvaluationError
from evaluation.report.model import REFERENCES
from evaluation.run.question import Served
from gateway.config.loader import read_config
from gateway.config.root import Config
from gateway.routing.facts import target_capabilities

VERSION = version("rerank-gateway")


class Gateway(Struct, frozen=True):
    """Whom to ask, and what is known of it.

    Attributes:
        url: of a gateway elsewhere; None for one in this process.
        config: of the gateway in this process; of one elsewhere only if it is at hand.
        path: of its file; None for the default configuration.
    """

    url: str | None
    config: Config | None
    path: str | None

    def served(self, model: str, max_tokens_per_doc: int | None) -> Served:
        """What answers under that name."""
        meaning = {} if self.config is None or self.url else _meaning(self.config, model)
        content = json.dumps([VERSION, self.url, meaning], sort_keys=True)
        return Served(model, hashlib.sha256(content.encode()).hexdigest(), max_tokens_per_doc)

    def concurrency(self, model: str, wanted: int) -> int:
        """How many calls of that model to make at once, at most as many as its targets take."""
        if self.config is None:
            return wanted
        limits = [self.config.providers[name].bulkhead.concurrency for name in _providers(self.config, model)]
        return min([wanted, *limits])

    def target(self, model: str) -> str:
        """The one `provider/model` behind the name; "" if there are several, or the configuration is not at hand."""
        paths = [model] if self.config is None else self.config.paths(model)
        return paths[0] if len(paths) == 1 and "/" in paths[0] else ""

    def score_space(self, model: str) -> str:
        """What its scores are; `unknown` if its targets differ, or the configuration is not at hand."""
        if self.config is None:
            return "unknown"
        alias = self.config.models.get(model)
        while alias is not None and alias.cascade:
            model = alias.cascade[-1].model
            alias = self.config.models.get(model)
        if alias is not None and alias.fuse:
            return "unknown"
        spaces = {target_capabilities(self.config, path).score_space for path in self.config.paths(model)}
        return spaces.pop() if len(spaces) == 1 else "unknown"


def find_gateway(url: str | None, path: str | None) -> Gateway:
    """The gateway to ask. Raises ConfigError."""
    return Gateway(url, read_config(path) if path or not url else None, path)


def choose(gateway: Gateway, named: Sequence[str]) -> list[str]:
    """The models to measure: those named, else all that the configuration knows by name.

    Raises:
        EvaluationError: for a name that stands twice, or when there is none.
    """
    names = [name for name in (named or list(_known(gateway.config))) if name not in REFERENCES]
    if len(set(names)) < len(names):
        raise EvaluationError("a model is named twice")
    if not names and not named:
        raise EvaluationError("name the models to measure with --model; it may be repeated")
    return names


def _known(config: Config | None) -> Iterator[str]:
    """Aliases and local models: vendors' models are too many."""
    if config is not None:
        yield from config.models
        for name, provider in config.providers.items():
            yield from (f"{name}/{model}" for model in provider.models or {})


def _providers(config: Config, model: str) -> list[str]:
    """The providers behind a name, each once."""
    names = [path.partition("/")[0] for path in config.paths(model)]
    return [name for name in dict.fromkeys(names) if name in config.providers]


def _made_of(config: Config, model: str) -> list[str]:
    """The names of the configuration that a model is made of."""
    return [name for name in config.reach(model) if name != model and name in config.models]


def _meaning(config: Config, model: str) -> dict[str, str]:
    """The part of the configuration that decides what the name answers; secrets are masked in it."""
    alias = config.models.get(model)
    return {
        "model": alias.model_dump_json() if alias else "",
        **{f"models.{name}": config.models[name].model_dump_json() for name in _made_of(config, model)},
        **{name: config.providers[name].model_dump_json() for name in _providers(config, model)},
    }
