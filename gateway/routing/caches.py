"""The cache of a configuration, and its place around each target."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from gateway.cache.entries import EntryStore
from gateway.cache.memory import MemoryEntries
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.policy.score_cache import Cache, CacheStats, ScoreCache
from gateway.policy.target_id import TargetId
from providers.types import Backend

Wrap = Callable[[Backend], Backend]
"""Puts a policy around a target."""


def open_cache(config: Config, previous: Config | None, opened: Cache | None) -> Cache | None:
    """The cache of a configuration; None if it has none. Nothing is contacted yet.

    Args:
        config: checked.
        previous, opened: the configuration before a reload and its cache, which stays if its settings do.
    """
    settings = config.cache
    if settings is None:
        return None
    if opened is not None and previous is not None and (previous.cache, previous.store) == (settings, config.store):
        return opened
    secret = settings.secret.get_secret_value().encode() if settings.secret else secrets.token_bytes(32)
    # blake2b takes no longer key than 64 bytes.
    return Cache(_open_store(config), blake2b(secret, digest_size=32).digest(), {})


def _open_store(config: Config) -> EntryStore:
    settings = config.cache
    assert settings is not None  # noqa: S101  # checked by the caller
    if not settings.shared or config.store is None:
        return MemoryEntries(settings.max_bytes, settings.ttl)
    from gateway.cache.valkey import ValkeyEntries  # takes a while to import, and most need no store

    return ValkeyEntries(config.store.url.get_secret_value(), config.store.timeout, settings.ttl)


def caching(
    opened: Cache,
    target: TargetId,
    settings: ProviderSettings,
    is_pointwise: bool,
    alias: str | None,
    stats: CacheStats,
) -> Wrap:
    """What puts the cache around a target."""

    def wrap(backend: Backend) -> Backend:
        identity = _identity(target, settings, opened.secret)
        return ScoreCache(backend, opened, target, identity, is_pointwise, alias, stats)

    return wrap


def _identity(target: TargetId, settings: ProviderSettings, secret: bytes) -> bytes:
    """The digest of all that decides what the target answers, so that other settings have entries of their own.

    Headers and keys are a part of it, for they can choose who answers: a deployment, a tenant, an index.
    """
    text = f"{_version()}\0{target}\0{json.dumps(settings.model_dump(), default=_revealed, sort_keys=True)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, key=secret).digest()


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else to_jsonable_python(value)


@cache
def _version() -> str:
    return version("rerank-gateway")
