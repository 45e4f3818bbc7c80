"""The use case: rank one request for one caller. Whatever serves requests calls `rank`, in whatever form they came."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from gateway import blocking
from gateway.access.keys import Principal
from gateway.access.meter import Meter
from gateway.access.reservation import Headers
from gateway.config.limits import RequestLimitSettings
from gateway.errors import TooLarge, UnknownModel
from gateway.runtime.service import Service
from gateway.suggestions import MAX_NAME_LENGTH
from gateway.telemetry.exchange import Exchange
from providers.attempts import AttemptCounter
from providers.errors import InvalidRequest
from providers.types import Ranking, RerankRequest


class RankResult(Struct, frozen=True):
    """What to answer.

    Attributes:
        ranking: verified, sorted and cut.
        headers: what is left of the caller's limits; empty where there are none.
        degraded: no model ranked: the documents are in the order in which a passthrough left them.
    """

    ranking: Ranking
    headers: Headers
    degraded: bool


async def rank(
    service: Service,
    caller: Principal,
    request: RerankRequest,
    fallbacks: Sequence[str] | None,
    exchange: Exchange,
    body_bytes: int | None = None,
) -> RankResult:
    """Rank a valid request within the gateway's limits and the caller's.

    Args:
        service: open.
        caller: whose request it is.
        request: its `model` is the name that the caller wrote. Without a deadline it gets the configured one.
        fallbacks: the caller's own; None means those configured for the model.
        exchange: the record of this request, in which its outcome is written.
        body_bytes: length of what the request was decoded from, which no document exceeds; None if unknown.

    Raises:
        TooLarge, InvalidRequest, ModelNotAllowed, Limited, PriceUnknown, StoreDown: before any target is asked.
        RerankError: the first target's error, when none could serve. `request.call.recorder` was told of all.
    """
    config, meter = service.config, service.meter
    exchange.read = monotonic()
    deadline = request.call.deadline
    exchange.call = replace(
        request.call,
        deadline=exchange.read + config.deadline.default if deadline is None else deadline,
        attempts=AttemptCounter(config.request_limits.attempts),
        caller=caller.name,
    )
    exchange.request = request = service.routes.complete(replace(request, call=exchange.call))
    check = partial(check_documents, request, body_bytes, config.request_limits)
    await blocking.run(body_bytes or 0, check, request.call.deadline)
    names = [request.model, *service.fallbacks(request.model, fallbacks)]
    if max(map(len, names)) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"a model's name has at most {MAX_NAME_LENGTH} characters")
    caller.check(*names)
    headers: Headers = {}
    try:
        if meter is None:
            ranking = await service.rerank(request, names)
        else:
            ranking, headers = await _rank_metered(service, meter, caller, request, names)
    except UnknownModel as error:
        raise service.routes.unknown_model(error.model, caller.may) from None
    exchange.ranking, exchange.cost = ranking, ranking.cost
    return RankResult(ranking, headers, exchange.degraded)


async def _rank_metered(
    service: Service, meter: Meter, caller: Principal, request: RerankRequest, names: Sequence[str]
) -> tuple[Ranking, Headers]:
    admission = await meter.admit(caller, request, names)
    try:
        ranking = await service.rerank(request, names)
    except BaseException as error:
        await admission.settle(error)
        raise
    await admission.settle(ranking)
    return ranking, admission.headers()


def check_documents(request: RerankRequest, body_bytes: int | None, settings: RequestLimitSettings) -> None:
    """Raises TooLarge for too many documents, or one that is too large. `body_bytes` as in `rank`."""
    documents, limit = request.documents, settings.document_bytes
    settings.check_count(len(documents))
    if body_bytes is not None and body_bytes <= limit:
        return
    for index, document in enumerate(documents):
        # A character has at most 4 bytes, so that few are encoded for this.
        if (
            isinstance(document, str)
            and len(document) * 4 > limit
            and len(document.encode("utf-8", "surrogatepass")) > limit
        ):
            raise TooLarge(
                f"the document at index {index} has more than {limit} bytes, the limit (request_limits.document_bytes)"
            )
