"""From a provider's settings to the URLs, timeouts and client settings of its calls."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.backends.http import MAX_MODELS, Url, at
from gateway.config.providers import ProviderSettings
from gateway.transport.base import ClientSettings, Timeouts
from providers.spec import HttpProvider

_VERSION = re.compile(r"^.*/v\d+(?=/)")
_VERSION_AT_END = re.compile(r"/v\d+$")


def endpoint(base_url: str, path: str) -> str:
    """The URL to post to, from what a user may write: a base or a full endpoint, with or without trailing slash.

    A path prefix is kept. A base that ends in a version (`…/v1`) keeps the user's version.
    """
    base = base_url.rstrip("/")
    below_version = _VERSION.sub("", path)
    if base.endswith(below_version):
        return base
    return base + (below_version if _VERSION_AT_END.search(base) else path)


def url_of(provider: HttpProvider, settings: ProviderSettings) -> Url:
    """Where that provider's requests go."""
    base, path = settings.base_url or provider.base_url or "", provider.path
    if isinstance(path, str):
        return endpoint(base, path)

    @lru_cache(maxsize=MAX_MODELS)
    def url(model: str) -> str:
        return endpoint(base, path(model))

    return url


def score_url_of(provider: HttpProvider, settings: ProviderSettings) -> Url | None:
    """Where that provider's score requests go: beside its rerank endpoint. None if it has no score API."""
    if provider.score is None:
        return None
    url, path, last = url_of(provider, settings), provider.path, _last(provider.score.path)
    if isinstance(url, str) and isinstance(path, str):
        return url.removesuffix(_last(path)) + last
    return lambda model: at(url, model).removesuffix(_last(at(path, model))) + last


def display_url(provider: HttpProvider, settings: ProviderSettings) -> str:
    """For people: where that provider's requests go, `MODEL` standing for the model where the URL names it."""
    return at(url_of(provider, settings), "MODEL")


def client_settings(settings: ProviderSettings, answer_bytes: int) -> ClientSettings:
    """How to reach that provider."""
    return ClientSettings(
        client=settings.client,
        proxy=settings.proxy,
        ca_file=settings.ca_file,
        client_cert=settings.client_cert,
        client_key=settings.client_key,
        max_connections=settings.max_connections,
        max_answer_bytes=answer_bytes,
    )


def timeouts_of(settings: ProviderSettings) -> Timeouts:
    """How long one attempt may take."""
    return Timeouts(
        connect=settings.connect_timeout, read=settings.timeout, pool=settings.pool_timeout, total=settings.timeout
    )


def _last(path: str) -> str:
    return path[path.rindex("/") :]
