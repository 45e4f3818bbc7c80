"""Cloudflare Workers AI.

The account and the model are in the path, and a row's `id` is the document's index. The answer comes in the envelope of
Cloudflare's API; one without it is read as well.
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from providers.capabilities import Capabilities
from providers.spec import HttpProvider, Options
from providers.wire.errors import error_message
from providers.wire.paths import UrlName, quote_path, quote_segment
from providers.wire.shape import Shape, decoder, encoder

_SHAPE = Shape(
    takes={"top_n": "top_k"},
    model=None,
    documents="contexts",
    holder="text",
    envelope="result",
    rows="response",
    index="id",
    score="score",
)


class Account(Struct, frozen=True):
    """Whose account is called."""

    account_id: UrlName


def path(account_id: str, model: str) -> str:
    return f"/client/v4/accounts/{quote_segment(account_id)}/ai/run/{quote_path(model)}"


def apply(account: Account) -> HttpProvider:
    return replace(PROVIDER, path=partial(path, account.account_id))


PROVIDER = HttpProvider(
    name="cloudflare",
    source="https://developers.cloudflare.com/workers-ai/models/bge-reranker-base (2026-11)",
    base_url="https://api.cloudflare.com",
    path=partial(path, "ACCOUNT_ID"),
    encode=encoder(_SHAPE),
    decode=decoder(_SHAPE),
    error_message=error_message,
    fields=frozenset(_SHAPE.takes),
    capabilities={"*": Capabilities()},
    api_key_env="CLOUDFLARE_API_TOKEN",
    options=Options(shape=Account, apply=apply),
)
