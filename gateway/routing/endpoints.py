"""From a provider's settings to the URLs, timeouts and client settings of its calls."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urljoin, urlsplit, urlunsplit

from gateway.backends.http import MAX_MODELS, Url, at
from gateway.config.providers import ProviderSettings
from gateway.transport.base import ClientSettings, Timeouts
from providers.spec import HttpProvider

_VERSION = re.compile(r"^.*?/v\d+(?=/)")
"""Up to the first version: what follows may be a name that callers write."""
_VERSION_AT_END = re.compile(r"/v\d+$")
_LAST_VERSION = re.compile(r"/v\d+(?=/[^/]+$)")
_LAST_VERSION_OF_URL = re.compile(r"/v\d+(?=/[^/?]+(\?|$))")


_ENDPOINTS = frozenset({"rerank", "reranks", "reranking", "rerankings", "ranking"})
"""What vendors call their rerank endpoints: a URL whose path ends in one is complete."""


def endpoint(base_url: str, path: str) -> str:
    """The URL to post to, from what a user may write: a base or a full endpoint, with or without trailing slash.

    A path prefix is kept. A base that ends in a version (`…/v1`) keeps the user's version; of one that ends as the path
    begins (`…/v1/inference`), that part is not repeated. A URL that has a query, or ends as rerank endpoints do, is a
    full endpoint. The query of the path is kept, unless the base has its own.
    """
    if "?" in base_url:
        return base_url
    below, mark, query = path.partition("?")
    return _joined(base_url.rstrip("/"), below) + mark + query


def _joined(base: str, path: str) -> str:
    below_version, given = _VERSION.sub("", path), urlsplit(base).path
    if given.endswith(below_version) or _last_segment(given) in _ENDPOINTS:
        return base
    if _VERSION_AT_END.search(base):
        return base + below_version
    return base + path[_shared_segments(given, path) :]


def _shared_segments(given: str, path: str) -> int:
    """Length of the longest start of the path, in whole segments, that what the user gave ends with already."""
    ends = (place for place in range(len(path) - 1, 0, -1) if path[place] == "/")
    return next((end for end in ends if given.endswith(path[:end])), 0)


def base_urls(provider: HttpProvider, settings: ProviderSettings) -> list[str]:
    """The base URL of each of its addresses, of which there is at least one."""
    return [address.url for address in settings.addresses] or [provider.base_url or ""]


def url_of(provider: HttpProvider, base: str) -> Url:
    """Where that provider's requests go, at one of its addresses."""
    path = provider.path
    if isinstance(path, str):
        return endpoint(base, path)

    @lru_cache(maxsize=MAX_MODELS)
    def url(model: str) -> str:
        return endpoint(base, path(model))

    return url


def score_url_of(provider: HttpProvider, base: str) -> Url | None:
    """Where that provider's score requests go: beside its rerank endpoint. None if it has no score API."""
    if provider.score is None:
        return None
    url, path = url_of(provider, base), provider.score.path
    if isinstance(url, str):
        return _score_beside(url, path)
    return lambda model: _score_beside(at(url, model), path)


def limits_url_of(provider: HttpProvider, base: str) -> str | None:
    """Where that provider tells its limits: beside its rerank endpoint. None if it does not."""
    url = url_of(provider, base)
    return _beside(url, _last_segment(provider.limits.path)) if provider.limits and isinstance(url, str) else None


def health_url_of(base: str, url: str) -> str:
    """What a health check asks: a URL, or a path at that address."""
    return urljoin(base, url) if url.startswith("/") else url


def display_url(provider: HttpProvider, base: str) -> str:
    """For people: where that provider's requests go, `MODEL` standing for the model where the URL names it, and `…` for
    a query, which may hold a credential."""
    url, mark, _ = at(url_of(provider, base), "MODEL").partition("?")
    return f"{url}?…" if mark else url


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


def _score_beside(url: str, path: str) -> str:
    """The score API's URL beside that endpoint, below the version of its own path where the endpoint has another.

    vLLM has `/v2/rerank`, but scores at `/v1/score` and `/score` alone.
    """
    beside, version = _beside(url, _last_segment(path)), _LAST_VERSION.match(path)
    return _LAST_VERSION_OF_URL.sub(version[0], beside) if version else beside


def _beside(url: str, name: str) -> str:
    """The URL with that last segment in its path, and the same query."""
    parts = urlsplit(url)
    folder = parts.path.rstrip("/").rpartition("/")[0]
    return urlunsplit(parts._replace(path=f"{folder}/{name}"))


def _last_segment(url: str) -> str:
    return url.rpartition("/")[2]
