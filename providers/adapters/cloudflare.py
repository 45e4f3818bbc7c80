"""Cloudflare Workers AI.

Source: https://developers.cloudflare.com/workers-ai/models/bge-reranker-base (2026-11)

The account and the model are in the path, and a row's `id` is the document's index. The answer comes in the envelope of
Cloudflare's API; one without it is read as well.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from providers.capabilities import Capabilities
from providers.spec import JSON, HttpProvider, Options
from providers.types import Ranked, Ranking, RerankRequest
from providers.wire.errors import error_message
from providers.wire.fields import effective_top_n, without_nulls
from providers.wire.paths import quote_path, quote_segment
from providers.wire.results import Rows, decode_response


class Account(Struct, frozen=True):
    """Whose account is called."""

    account_id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]


class _Row(Struct):
    id: int
    score: float


class _Result(Struct):
    response: Annotated[list[_Row], Meta(min_length=1)]


class _Answer(Struct):
    result: _Result


class _Bare(Struct):
    response: Rows


_ANSWER = Decoder(_Answer)
_BARE = Decoder(_Bare)


def path(account_id: str, model: str) -> str:
    return f"/client/v4/accounts/{quote_segment(account_id)}/ai/run/{quote_path(model)}"


def encode(request: RerankRequest) -> JSON:
    contexts = [{"text": document} for document in request.documents]
    return without_nulls(query=request.query, contexts=contexts, top_k=effective_top_n(request))


def decode(body: bytes, request: RerankRequest) -> Ranking:
    try:
        rows = _ANSWER.decode(body).result.response
    except (ValueError, RecursionError):
        return Ranking(results=decode_response(body, _BARE).response)
    return Ranking(results=[Ranked(row.id, row.score) for row in rows])


def apply(account: Account) -> HttpProvider:
    return replace(PROVIDER, path=partial(path, account.account_id))


PROVIDER = HttpProvider(
    name="cloudflare",
    base_url="https://api.cloudflare.com",
    path=partial(path, "ACCOUNT_ID"),
    encode=encode,
    decode=decode,
    error_message=error_message,
    fields=frozenset({"top_n"}),
    capabilities={"*": Capabilities()},
    api_key_env="CLOUDFLARE_API_TOKEN",
    options=Options(shape=Account, apply=apply),
)
