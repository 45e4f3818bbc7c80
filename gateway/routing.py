"""From the configuration to live backends: which policies wrap which target, in which order, is decided here alone."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.access.memory import MemoryStore
from gateway.config import Config, ProviderConfig, client_settings, local_model, score_url_of, timeouts_of, url_of
from gateway.errors import UnknownModel
from gateway.loading import Loading
from gateway.metering import Terms
from gateway.policy.fallback import Absent
from gateway.policy.pairs import Pairs
from gateway.policy.target import Target
from gateway.suggestions import LONGEST_NAME, clause, near
from gateway.upstream import HttpBackend, open_client
from providers.spec import HttpProvider
from providers.types import Backend

REMEMBERED_TARGETS = 4096
"""Targets kept for names that only callers mention; more would let a caller fill the memory with invented names."""


class Routes:
    """What every name resolves to.

    Attributes:
        models: local models by provider and name, the ones that need loading before they are ready.
    """

    def __init__(
        self, config: Config, backends: Mapping[str, Backend], models: Mapping[str, Mapping[str, Loading]], terms: Terms
    ) -> None:
        self.config = config
        self._terms = terms
        self.models = models
        self._backends = backends
        self._seen: dict[str, Backend] = {}
        self._aliases = {name: self._target(model.target, shown_as=name) for name, model in config.models.items()}

    def resolve(self, name: str) -> Backend:
        """What serves that name; for an unknown one a backend that says so (404), with near matches."""
        backend = self._aliases.get(name) or self._seen.get(name)
        if backend is None:
            backend = self._target(name)
            self._remember(name, backend)
        return backend

    def fallbacks(self, name: str) -> list[str]:
        """The fallbacks configured for that name."""
        model = self.config.models.get(name)
        return model.fallbacks if model else []

    def names(self) -> list[str]:
        """All names that can be listed: aliases, then local models; an upstream's own models are not known."""
        local = [f"{provider}/{name}" for provider, models in self.models.items() for name in models]
        return [*self._aliases, *local]

    def owner(self, name: str) -> str:
        """The provider behind a listed name."""
        return self._path(name).partition("/")[0]

    def default_model(self) -> str | None:
        """What serves a request whose dialect lets the model be left out: the configured one, else the only name."""
        if self.config.default_model is not None:
            return self.config.default_model
        names = self.names()
        return names[0] if len(names) == 1 else None

    def known(self, name: str) -> bool:
        """Whether that name resolves to something, without saying whether an upstream has that model."""
        provider, slash, model = self._path(name).partition("/")
        return model in self.models.get(provider, {}) or bool(slash and model and provider in self._backends)

    def is_alias(self, name: str) -> bool:
        """Whether the configuration gives that name a meaning of its own."""
        return name in self._aliases

    def loading(self, *names: str) -> list[Loading]:
        """Every local model, or only those that these names and their fallbacks need."""
        wanted = {self._path(name) for name in (*names, *(f for name in names for f in self.fallbacks(name)))}
        return [
            loading
            for provider, models in self.models.items()
            for model, loading in models.items()
            if not names or f"{provider}/{model}" in wanted
        ]

    def _path(self, name: str) -> str:
        model = self.config.models.get(name)
        return model.target if model else name

    async def aclose(self) -> None:
        """Close every backend."""
        for backend in [*self._backends.values(), *self.loading()]:
            await backend.aclose()

    def _target(self, name: str, shown_as: str | None = None) -> Backend:
        provider, slash, model = name.partition("/")
        if provider in self.models and model in self.models[provider]:
            return self._priced(Pairs(self.models[provider][model]), provider, model, shown_as)
        if slash and model and provider in self._backends:
            return self._priced(self._backends[provider], provider, model, shown_as)
        return self._absent(name)

    def _priced(self, backend: Backend, provider: str, model: str, shown_as: str | None) -> Backend:
        target = Target(backend, provider, model, shown_as, self._terms.cost(provider, model))
        return self._terms.limited(target, provider, model)

    def _absent(self, name: str) -> Backend:
        provider, slash, model = name[:LONGEST_NAME].partition("/")
        meant = near(name, self.names()) + [f"{other}/{model}" for other in near(provider, self._backends) if slash]
        error = UnknownModel(f'unknown model "{name[:LONGEST_NAME]}"{clause(meant)}')
        return Absent(error, provider, model) if slash else Absent(error, "", provider)

    def _remember(self, name: str, backend: Backend) -> None:
        if len(name) > LONGEST_NAME:
            return
        if len(self._seen) >= REMEMBERED_TARGETS:
            del self._seen[next(iter(self._seen))]
        self._seen[name] = backend


def build(config: Config, terms: Terms | None = None) -> Routes:
    """Open a backend for every provider. Nothing is contacted or loaded yet."""
    backends: dict[str, Backend] = {}
    models: dict[str, dict[str, Loading]] = {}
    for name, settings in config.providers.items():
        provider = config.adapter(name)
        if isinstance(provider, HttpProvider):
            backends[name] = _http_backend(name, provider, settings)
        else:
            models[name] = {
                model: Loading(provider.open, local_model(model, chosen))
                for model, chosen in (settings.models or {}).items()
            }
    return Routes(config, backends, models, terms or Terms(config, MemoryStore()))


def _http_backend(name: str, provider: HttpProvider, settings: ProviderConfig) -> Backend:
    return HttpBackend(
        provider,
        url_of(provider, settings),
        settings.api_key.get_secret_value() if settings.api_key else None,
        open_client(client_settings(settings)),
        timeouts_of(settings),
        {header: value.get_secret_value() for header, value in settings.headers.items()},
        name,
        score_url_of(provider, settings),
    )
