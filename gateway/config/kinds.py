"""What each kind of provider demands of its settings.

How a kind is opened is in gateway/routing/kinds/, one file each. This half is here because a configuration is checked
while it is read, and what reads it stands below what makes live routes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.config import options
from gateway.config.certificates import check_authorities, check_chain
from gateway.config.providers import ProviderSettings, local_model
from gateway.transport.proxies import proxy_of
from providers import registry, tokenization
from providers.spec import Bearer, Header, HttpProvider, LocalProvider, Provider, PureProvider

PROXY = ".proxy"
"""Where the problem with a proxy is that the chosen client cannot use."""

Problems = list[tuple[str, str]]
"""What is wrong: where, from the provider's section on (`.api_key`), and a sentence."""


def check(provider: Provider, settings: ProviderSettings) -> Problems:
    """What is wrong with the settings of a provider with that adapter."""
    return _CHECKS[type(provider)](provider, settings)


def _http(provider: HttpProvider, settings: ProviderSettings) -> Problems:
    problems = []
    if command := provider.missing():
        problems.append((".adapter", f'"{provider.name}" needs packages that are not installed; run: {command}'))
    if settings.models is not None:
        problems.append((".models", f"only a local provider has models to load; {provider.name} takes any model name"))
    return problems + _without_copies(settings) + _reachable(provider, settings)


def _reachable(provider: HttpProvider, settings: ProviderSettings) -> Problems:
    """What is wrong with how a provider behind HTTP is reached, and with what is said of its models."""
    problems = []
    if not settings.addresses and not provider.base_url:
        problems.append((".base_url", "is required; this adapter has no default URL"))
    if (check := settings.health_check) and len(settings.addresses) > 1 and not check.url.startswith("/"):
        problems.append((".health_check.url", "must be a path such as /health, which is asked at each of base_urls"))
    problems += _credential(provider, settings) + options.check(provider, settings) + _tokenizers(settings)
    return problems + _certificates(settings) + _proxy(provider, settings)


def _tokenizers(settings: ProviderSettings) -> Problems:
    has_none = not any(chosen.tokenizer for chosen in settings.capabilities.values())
    return [
        (f".capabilities.{pattern}.long_documents", "error needs a tokenizer, to tell which texts are too long")
        for pattern, chosen in settings.capabilities.items()
        if chosen.long_documents == "error" and has_none
    ] + [
        (f".capabilities.{pattern}.tokenizer", fault)
        for pattern, chosen in settings.capabilities.items()
        if chosen.tokenizer is not None and (fault := tokenization.problem(chosen.tokenizer))
    ]


def _credential(provider: HttpProvider, settings: ProviderSettings) -> Problems:
    has_key = bool(settings.api_key or settings.api_keys)
    if provider.key_required and not (has_key or settings.addresses):
        return [(".api_key", f'is required, for example "${{{provider.api_key_env or "A_VARIABLE"}}}"')]
    if has_key and not isinstance(provider.auth, Bearer | Header):
        return [(".api_key" if settings.api_key else ".api_keys", f"{provider.name} takes no key")]
    return []


def _certificates(settings: ProviderSettings) -> Problems:
    problems = []
    if settings.client_key and not settings.client_cert:
        problems.append((".client_key", "needs client_cert, the certificate of this key"))
    if settings.ca_file and (message := check_authorities(settings.ca_file)):
        problems.append((".ca_file", message))
    if settings.client_cert and (problem := check_chain(settings.client_cert, settings.client_key)):
        problems.append((f".client_{problem[0]}", problem[1]))
    return problems


def _proxy(provider: HttpProvider, settings: ProviderSettings) -> Problems:
    urls = [address.url for address in settings.addresses] or [provider.base_url or ""]
    proxies = [proxy for url in urls if url and (proxy := proxy_of(settings.proxy, url))]
    if settings.client == "httpx" or not any(proxy.lower().startswith("socks") for proxy in proxies):
        return []
    origin = " (from the environment)" if settings.proxy == "environment" else ""
    return [(PROXY, f"a SOCKS proxy{origin} needs `client: httpx`; the other clients speak to HTTP proxies only")]


def is_remote(provider: Provider, settings: ProviderSettings) -> bool:
    """Whether the models of a local provider are held by other processes, at its `base_url` or `base_urls`."""
    return isinstance(provider, LocalProvider) and bool(settings.addresses)


def remote_adapter(provider: LocalProvider) -> HttpProvider:
    """What its models are asked by where other processes hold them. Raises LookupError if there is no such adapter."""
    adapter = registry.find(provider.remote or "")
    assert isinstance(adapter, HttpProvider)  # noqa: S101  # an adapter of ours, shown by a test
    return adapter


def _remote(provider: LocalProvider, settings: ProviderSettings) -> Problems:
    """Nothing of the models must be here: neither their files nor what computes them."""
    if provider.remote is None:
        place = ".base_url" if settings.base_url else ".base_urls"
        return [(place, f"models of the adapter {provider.name} run in this process only")]
    problems = _reachable(remote_adapter(provider), settings) + _devices(settings)
    if not settings.models:
        problems.append((".models", "is required: name the models that are served at base_url"))
    return problems


def _without_copies(settings: ProviderSettings) -> Problems:
    return [(".scale", "only a local provider has copies in a cluster")] if settings.scale else []


def _devices(settings: ProviderSettings) -> Problems:
    """A copy sees the GPUs that it is given, numbered from 0, and no other."""
    if settings.scale is None:
        return []
    gpus, problems = settings.scale.whole_gpus, []
    for name, model in (settings.models or {}).items():
        kind, _, number = model.device.partition(":")
        if kind == "cuda" and int(number or 0) >= gpus:
            has = f"sees {gpus} GPU{'' if gpus == 1 else 's'}"
            problems.append((f".models.{name}.device", f"is {model.device}, and a copy {has}; see scale.gpus"))
    return problems


def _local(provider: LocalProvider, settings: ProviderSettings) -> Problems:
    if is_remote(provider, settings):
        return _remote(provider, settings)
    if command := provider.missing():
        return [(".models", f"the local engine is not installed; run: {command}")]
    if not settings.models:
        return [(".models", "is required: add at least one model to load")]
    return (
        _only_over_http(settings)
        + _devices(settings)
        + [
            (f".models.{name}", problem)
            for name, model in settings.models.items()
            for problem in provider.problems(local_model(name, model))
        ]
    )


def _pure(provider: PureProvider, settings: ProviderSettings) -> Problems:
    return _only_over_http(settings) + _without_copies(settings)


def _only_over_http(settings: ProviderSettings) -> Problems:
    problems = [
        (f".capabilities.{pattern}.limits", "only a provider behind HTTP has limits; see request_limits")
        for pattern, correction in settings.capabilities.items()
        if correction.limits.model_dump(exclude_none=True)
    ]
    problems += [
        (f".capabilities.{pattern}.{key}", "only for a provider behind HTTP; local models have settings of their own")
        for pattern, correction in settings.capabilities.items()
        for key in ("long_documents", "tokenizer")
        if getattr(correction, key) is not None
    ]
    if settings.base_urls:
        problems.append((".base_urls", "only a provider behind HTTP has addresses"))
    return problems + ([(".options", "only a provider behind HTTP has options")] if settings.options else [])


_CHECKS: Mapping[type[Provider], Callable[[Any, ProviderSettings], Problems]] = {
    HttpProvider: _http,
    LocalProvider: _local,
    PureProvider: _pure,
}
