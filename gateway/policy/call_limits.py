"""What one call of a target may carry, and how a request is divided into calls that keep to it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import Protocol

import msgspec
from msgspec.structs import asdict, replace

from gateway.blocking import check_cancelled
from providers.capabilities import NO_LIMITS, Capabilities, Limits
from providers.errors import LimitExceeded
from providers.types import RerankRequest, TextOrParts

_encode = msgspec.json.Encoder().encode

BYTES_AROUND_DOCUMENT = 64
"""More than adapters write around a document: the names of fields, braces and commas."""

BYTES_AROUND_CALL = 1024
"""More than adapters write into a body beside the query and the documents."""

BYTES_PER_TOKEN = 2
"""Fewer than tokenizers make a token of, in natural languages and programs. What has still more tokens than this
estimate is refused by the target as too large, and divided further."""

ASK_SHARE = 0.25
"""Of the time that a request has left: for so long it waits for what a server tells of its limits."""


class LimitsSource(Protocol):
    """Asks a server for the limits of its calls."""

    async def ask(self) -> Limits | None:
        """What it tells; None if nothing. Never raises."""
        ...


class CallLimits:
    """The limits of one target's calls: those that are declared or configured, and those that it has told.

    Args:
        capabilities: of the target's model, as the operator corrects them.
        corrected: the operator's own limits, which hold whatever the server tells.
        source: asks the server for its limits; None if it tells none.

    Attributes:
        is_pointwise: whether a request may be divided without a change of its scores.
        documents: the most documents of one call; `sys.maxsize` where no limit is known.
    """

    def __init__(
        self, capabilities: Capabilities, corrected: Limits = NO_LIMITS, source: LimitsSource | None = None
    ) -> None:
        self._corrected = corrected
        self._source = source
        self.is_pointwise = capabilities.scoring == "pointwise"
        self._scoring = capabilities.scoring
        self._set(capabilities.limits)

    def _set(self, limits: Limits) -> None:
        self.limits = limits
        self.documents = limits.documents or sys.maxsize
        self._weighs = self.is_pointwise and (limits.body_bytes, limits.tokens_per_call) != (None, None)

    @property
    def matter(self) -> bool:
        """Whether a request could ever be divided, or refused."""
        return self.is_pointwise or self.limits.documents is not None

    @property
    def tell_of_texts(self) -> bool:
        """Whether it is known how long a document may be."""
        return (self.limits.tokens_per_document, self.limits.tokens_per_pair) != (None, None)

    async def ask(self, deadline: float | None) -> None:
        """Take over what the server tells of its limits, if it does in good time; what the operator has set stays.

        Args:
            deadline: of the request that waits, which keeps most of its time for its calls.
        """
        told = await _in_time(deadline, self._source.ask()) if self._source is not None else None
        if told is not None:
            fresh = {
                name: value
                for name, value in asdict(told).items()
                if value is not None and value > 0 and getattr(self._corrected, name) is None
            }
            self._set(replace(self.limits, **fresh))

    def learn(self, documents: int) -> bool:
        """Take over the most documents of a call as the target told it. False if that cannot be."""
        if documents < 1:
            return False
        self._set(replace(self.limits, documents=documents))
        return True

    def learn_tokens(self, pair: int) -> None:
        """Take over the most tokens of a query and a document as the target told it."""
        known = self.limits.tokens_per_pair
        if pair > 0 and (known is None or pair < known):
            self._set(replace(self.limits, tokens_per_pair=pair))

    def fit(self, request: RerankRequest) -> bool:
        """Whether a request can go out as it is. Costs one comparison of integers, unless sizes must be weighed."""
        return len(request.documents) <= self.documents and not (self._weighs and self._may_be_too_large(request))

    def _may_be_too_large(self, request: RerankRequest) -> bool:
        """Judged by what the request was decoded from, which its texts do not exceed by much."""
        size, limits = request.call.body_bytes, self.limits
        if not size:
            return True
        with_queries = size + len(request.documents) * (_characters(request.query) + len(request.instruction or ""))
        by_tokens = (limits.tokens_per_call or sys.maxsize) * BYTES_PER_TOKEN
        by_bytes = (limits.body_bytes or sys.maxsize) // 2
        return with_queries > min(by_tokens, by_bytes)

    def divide(self, request: RerankRequest) -> list[tuple[int, int]]:
        """The calls that the request needs, each as the positions of its documents: the first, and one past the last.

        A document that is over a limit by itself makes a call of its own: whether it is refused is for the target.
        """
        if not self._weighs:
            step, count = self.documents, len(request.documents)
            return [(first, min(first + step, count)) for first in range(0, count, step)]
        return _pack(self._weights(request), self.documents, self._capacity(request))

    def _weights(self, request: RerankRequest) -> list[tuple[int, int]]:
        """The bytes and tokens of each document, with those of its query where they count once for each."""
        weights, query = [], _query_size(request)
        several = request.queries if request.queries is not None and len(request.queries) > 1 else None
        for index, document in enumerate(request.documents):
            if not index % 256:
                check_cancelled()
            size = _size(document)
            own = query if several is None else _size(several[index])
            in_body = size + BYTES_AROUND_DOCUMENT + (own if several is not None else 0)
            weights.append((in_body, _estimated_tokens(size + own)))
        return weights

    def _capacity(self, request: RerankRequest) -> tuple[int, int]:
        size = (self.limits.body_bytes or sys.maxsize) - _query_size(request) - BYTES_AROUND_CALL
        return max(1, size), self.limits.tokens_per_call or sys.maxsize

    def refusal(self, request: RerankRequest, provider: str) -> LimitExceeded:
        """The error for a request that has more documents than a call takes, and cannot be divided."""
        why = (
            "the model ranks the documents of a call together"
            if self._scoring == "listwise"
            else f'or set providers.{provider}.capabilities."{request.model}".scoring to pointwise, if it is'
        )
        return LimitExceeded(
            f'provider "{provider}" takes at most {self.documents} documents per call, '
            f"this one has {len(request.documents)}; send fewer ({why})",
            status=413,
        )


async def _in_time(deadline: float | None, asking: Awaitable[Limits | None]) -> Limits | None:
    """What is told in a share of the time until the deadline, in seconds of `time.monotonic()`; None if nothing is."""
    try:
        async with asyncio.timeout(None if deadline is None else ASK_SHARE * max(0.0, deadline - monotonic())):
            return await asking
    except TimeoutError:
        return None


def _pack(weights: Sequence[tuple[int, int]], most: int, capacity: tuple[int, int]) -> list[tuple[int, int]]:
    """As many documents into each call as it has room for, in their order: vendors bill by the call, or the hundred."""
    calls, first, used = [], 0, (0, 0)
    for index, (size, tokens) in enumerate(weights):
        more = (used[0] + size, used[1] + tokens)
        if index > first and (index - first >= most or more[0] > capacity[0] or more[1] > capacity[1]):
            calls.append((first, index))
            first, more = index, (size, tokens)
        used = more
    return [*calls, (first, len(weights))]


def _size(text: TextOrParts) -> int:
    """Bytes of a text in a JSON body."""
    return len(_encode(text)) if isinstance(text, str) else len(_encode(text.content))


def _query_size(request: RerankRequest) -> int:
    """Bytes of the query with its instruction."""
    return _size(request.query) + (_size(request.instruction) if request.instruction else 0)


def _characters(text: TextOrParts) -> int:
    return len(text) if isinstance(text, str) else _size(text)


def _estimated_tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
