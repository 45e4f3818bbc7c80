"""The text of a configuration to begin with: few keys, and comments that say what may follow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from gateway.cli.adapter_details import address
from providers.spec import Bearer, Header, HttpProvider, LocalProvider, Provider

_HEAD = """\
# Written by `rerank-gateway init`. `rerank-gateway check FILE` says what it means; every key with its meaning is in
# docs/configuration.md. ${VARIABLE} is taken from the environment.
"""
_MODELS = """\
# Names that callers may use in place of provider/model:
# models:
#   best:
#     target: PROVIDER/MODEL
#     fallbacks: [ANOTHER/MODEL]        # asked if the target fails
"""
_NO_KEYS = """\
# Without keys the gateway listens on this machine only. `rerank-gateway keys new NAME` makes one:
# auth:
#   keys:
#     - name: NAME
#       hash: sha256:…
"""


class ChosenProvider(Struct, frozen=True):
    """A provider to write: its adapter, where it is ("" for the vendor's address), and its options."""

    adapter: Provider
    url: str = ""
    options: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """The adapter's name, which becomes the provider's."""
        return self.adapter.name


def render(providers: Sequence[ChosenProvider], key: tuple[str, str] | None) -> str:
    """The text of the file.

    Args:
        providers: at least one, none twice.
        key: a caller's name, and the hash of its key; None for no key.
    """
    lines = [_HEAD, "providers:"]
    for provider in providers:
        lines += [f"  {line}" for line in _provider(provider)]
    lines += ["", _MODELS, _NO_KEYS if key is None else _keys(*key)]
    return "\n".join(lines)


def key_variable(adapter: Provider) -> str:
    """The environment variable that the file names for a vendor's key; "" where no key is needed."""
    if not isinstance(adapter, HttpProvider) or not isinstance(adapter.auth, Bearer | Header):
        return ""
    return adapter.api_key_env or (_made_up_variable(adapter) if adapter.key_required else "")


def _provider(provider: ChosenProvider) -> Iterator[str]:
    adapter = provider.adapter
    if isinstance(adapter, LocalProvider):
        yield from _local(adapter)
        return
    where = provider.url or address(adapter)
    yield f"# {where}" if isinstance(adapter, HttpProvider) else f"# {adapter.name}, {where}"
    settings = list(_settings(provider))
    yield f"{adapter.name}:" if any(not line.startswith("#") for line in settings) else f"{adapter.name}: {{}}"
    yield from (f"  {line}" for line in settings)


def _settings(provider: ChosenProvider) -> Iterator[str]:
    adapter = provider.adapter
    if provider.url:
        yield f"base_url: {_quoted(provider.url)}"
    if variable := key_variable(adapter):
        yield f'api_key: "${{{variable}}}"'
    elif isinstance(adapter, HttpProvider) and isinstance(adapter.auth, Bearer | Header):
        yield f'# api_key: "${{{_made_up_variable(adapter)}}}"        # if the server wants one'
    if provider.options:
        yield "options:"
        yield from (f"  {_quoted(name)}: {_quoted(value)}" for name, value in provider.options.items())


def _local(adapter: LocalProvider) -> Iterator[str]:
    yield "# Inside the gateway, without a network: the models that come with it (`rerank-gateway models`). Others"
    yield "# may take their place under `models`, each with a `path`: a folder, or a name of the Hugging Face Hub."
    yield f"{adapter.name}: {{}}"


def _keys(name: str, digest: str) -> str:
    return f"""\
# Keys that callers need. `rerank-gateway keys new NAME` makes more.
auth:
  keys:
    - name: {_quoted(name)}
      hash: {digest}
"""


def _made_up_variable(adapter: Provider) -> str:
    return f"{adapter.name.upper().replace('-', '_')}_API_KEY"


def _quoted(text: str) -> str:
    """A text as YAML reads it back, `${` included."""
    return json.dumps(text.replace("${", "$${"))
