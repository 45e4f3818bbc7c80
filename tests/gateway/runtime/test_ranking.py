"""The use case by itself: what it adds to a request, and what it writes into the request's record."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from gateway.access.keys import ANYONE, Principal, matcher
from gateway.config.loader import from_tree
from gateway.errors import ModelNotAllowed, TooLarge
from gateway.runtime.ranking import check_documents, rank
from gateway.runtime.service import Service
from gateway.telemetry.exchange import Exchange
from providers.errors import InvalidRequest, RerankError
from providers.types import Call, RerankRequest

TREE = {"providers": {"own": {"adapter": "passthrough"}}, "auth": "none", "deadline": {"default": 7}}


def asked(deadline: float | None = None, **fields: Any) -> RerankRequest:
    given = {"model": "own/order", "query": "q", "documents": ["a", "b"], **fields}
    return RerankRequest(call=Call("id", deadline=deadline), **given)


async def test_what_is_ranked_is_written_into_the_record() -> None:
    service, request = Service(from_tree(TREE)), asked(monotonic() + 100)
    await service.open()
    exchange = Exchange("test", request.call, monotonic())
    result = await rank(service, ANYONE, request, None, exchange)
    await service.aclose()
    assert exchange.request is not None
    assert exchange.request.documents is request.documents
    assert (exchange.ranking, exchange.cost) == (result.ranking, result.ranking.cost)
    assert exchange.read >= exchange.start
    assert (result.degraded, result.headers) == (True, {})


@pytest.mark.parametrize("own", [None, 100.0], ids=["none: the configured one", "its own"])
async def test_a_request_always_has_a_deadline(own: float | None) -> None:
    service, start = Service(from_tree(TREE)), monotonic()
    await service.open()
    request = asked(None if own is None else start + own)
    exchange = Exchange("test", request.call, start)
    await rank(service, ANYONE, request, None, exchange)
    await service.aclose()
    ranked = exchange.request
    assert ranked is not None
    assert ranked.call is exchange.call
    assert ranked.call.deadline is not None
    assert start + (own or 7) <= ranked.call.deadline <= monotonic() + (own or 7)


NOBODY = Principal(name="k", allows=matcher(["other/*"]))
REFUSALS: dict[str, tuple[RerankRequest, list[str] | None, Principal, type[RerankError]]] = {
    "documents before names": (asked(documents=["a"] * 10_001, model="m" * 257), None, NOBODY, TooLarge),
    "names before permissions": (asked(model="m" * 257), None, NOBODY, InvalidRequest),
    "a fallback's name": (asked(), ["own/" + "m" * 253], ANYONE, InvalidRequest),
    "permissions": (asked(), None, NOBODY, ModelNotAllowed),
    "a fallback's permissions": (asked(model="other/m"), ["own/order"], NOBODY, ModelNotAllowed),
}


@pytest.mark.parametrize(("request_", "fallbacks", "caller", "kind"), REFUSALS.values(), ids=REFUSALS)
async def test_the_order_of_the_checks(
    request_: RerankRequest, fallbacks: list[str] | None, caller: Principal, kind: type[RerankError]
) -> None:
    service = Service(from_tree(TREE))
    await service.open()
    exchange = Exchange("test", request_.call, monotonic())
    with pytest.raises(RerankError) as refused:
        await rank(service, caller, request_, fallbacks, exchange)
    await service.aclose()
    assert type(refused.value) is kind
    assert exchange.ranking is None


@pytest.mark.parametrize("body_bytes", [None, 9], ids=["length unknown", "longer than a document may be"])
def test_without_a_body_that_is_short_enough_every_document_is_measured(body_bytes: int | None) -> None:
    limits = from_tree({"request_limits": {"document_bytes": 8}}).request_limits
    with pytest.raises(TooLarge, match="index 1 has more than 8 bytes"):
        check_documents(asked(documents=["a", "\ud800" * 3]), body_bytes, limits)
    check_documents(asked(documents=["a", "\ud800" * 3]), 8, limits)
