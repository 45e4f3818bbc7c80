"""The kinds of provider, one file each: how it is opened, where it is, how the command line shows it.

A new kind is a file here and a line in `_KINDS`. Its struct is in providers/spec.py, and what it demands of its
settings in gateway/config/kinds.py, which says why that is not here.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.kinds import is_remote
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.routing.kinds.http import HttpKind
from gateway.routing.kinds.kind import Kind
from gateway.routing.kinds.local import LocalKind
from gateway.routing.kinds.pure import PureKind
from gateway.routing.kinds.remote import RemoteKind
from providers.spec import HttpProvider, LocalProvider, Provider, PureProvider

__all__ = ["Kind", "configure", "kind_of"]

_KINDS: Mapping[type[Provider], type[Kind]] = {
    HttpProvider: HttpKind,
    LocalProvider: LocalKind,
    PureProvider: PureKind,
}


def kind_of(provider: Provider, settings: ProviderSettings | None = None) -> type[Kind]:
    """The kind of an adapter, with the provider's settings: local models may be held by other processes."""
    if settings is not None and is_remote(provider, settings):
        return RemoteKind
    return _KINDS[type(provider)]


def configure(config: Config, name: str) -> Kind:
    """The provider of that name as it is configured; nothing is opened. The configuration is checked."""
    provider = config.adapter(name)
    return kind_of(provider, config.providers[name])(config, name, provider)
