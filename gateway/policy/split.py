"""Split a request that is more than one call of a target takes, and merge the answers, which come from it alone."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections import deque
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

from msgspec import field
from msgspec.structs import replace

from gateway import blocking
from gateway.errors import AttemptsSpent, Skipped
from gateway.policy.call_limits import CallLimits
from gateway.policy.merging import first_error, merge, part_of, total
from gateway.policy.target_id import TargetId
from gateway.policy.verification import verify, verify_spans
from gateway.policy.wrapper import Wrapper
from providers.attempts import AttemptCounter, AttemptRecord, Recorder, RunningAttempt
from providers.errors import LimitExceeded, Overloaded, RerankError, TooLong
from providers.types import Backend, Ranking, RerankRequest

MAX_CONCURRENT_PARTS = 8
"""Parts of one request that are under way at a time: one caller must not fill the queue of a target."""

MAX_CALLS = 1000
"""Calls that one request may be divided into. Ten thousand documents, ten in a call, are still served; more calls would
keep a target busy for minutes for one caller."""

MAX_RETURNS = 64
"""How often parts of one request may come back unsent, for an open breaker or for want of a slot, until it fails."""

MAX_HALVINGS = 6
"""How often what is refused as too large is divided by two, before the target is taken at its word."""

_start = attrgetter("start")

Part = tuple[int, int]
"""Positions in a request: of its first document, and one past its last."""


class PartRecorder(Recorder, frozen=True, kw_only=True):
    """Keeps the calls of one part beside those of the others; their waits are the request's.

    Attributes:
        parent: the request's own.
        documents: how many documents the part has.
    """

    parent: Recorder
    attempts: list[AttemptRecord] = field(default_factory=list)
    documents: int = 0

    def begin_attempt(self, provider: str, model: str) -> RunningAttempt:
        attempt = self.parent.begin_attempt(provider, model)
        attempt.recorder = self
        return attempt

    def add_attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(replace(record, documents=self.documents))

    def add_skip(
        self, provider: str, model: str, error: RerankError, *, has_target: bool = True, member: str = ""
    ) -> None:
        self.begin_attempt(provider, model).finish(None, error.message, error.code)

    def add_wait(self, start: float, end: float) -> None:
        self.parent.add_wait(start, end)


class Split(Wrapper):
    """Calls a target several times at once where one call would be too large. Other requests pass unchanged.

    A part that fails is tried again alone, by the retries inside. One that cannot be had fails the whole attempt, so
    that the next target ranks all documents.

    Args:
        backend: the target, with the policies of each call.
        limits: of its calls.
        target: whose they are.
        concurrency: calls that the target takes at a time.
    """

    def __init__(self, backend: Backend, limits: CallLimits, target: TargetId, concurrency: int) -> None:
        super().__init__(backend)
        self._limits = limits
        self._target = target
        self.concurrency = min(concurrency, MAX_CONCURRENT_PARTS)

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of all documents. Raises LimitExceeded for more than the target can take, else as the target."""
        limits = self._limits
        if not limits.fit(request):
            await limits.ask(request.call.deadline)  # The server may take more than is usual.
        if limits.fit(request):
            try:
                return await self.backend.rerank(request)
            except (TooLong, LimitExceeded) as error:
                if not self._may_divide(request, error):
                    raise
                await limits.ask(request.call.deadline)
            smaller = partial(self._smaller, request)
            parts = await blocking.run(request.call.body_bytes, smaller, request.call.deadline)
        elif not limits.is_pointwise:
            raise self._refuse(request)
        else:
            divide = partial(limits.divide, request)
            parts = await blocking.run(request.call.body_bytes, divide, request.call.deadline)
        if len(parts) == 1:
            return await self.backend.rerank(request)
        if len(parts) > MAX_CALLS:
            raise self._skip(request, self._too_many_calls(request))
        return await self._rank_parts(request, parts)

    def _may_divide(self, request: RerankRequest, error: RerankError) -> bool:
        if not self._limits.is_pointwise or len(request.documents) < 2:
            return False
        if not isinstance(error, TooLong):
            return True
        if error.max_documents is not None:
            return len(request.documents) > error.max_documents and self._limits.learn(error.max_documents)
        return error.is_of_call

    def _smaller(self, request: RerankRequest) -> list[Part]:
        """Parts of a request that was refused for its size: by what the target told of its limits, else two halves."""
        parts, count = self._limits.divide(request), len(request.documents)
        return parts if len(parts) > 1 else [(0, count // 2), (count // 2, count)]

    def _refuse(self, request: RerankRequest) -> LimitExceeded:
        target = self._target
        return self._skip(request, self._limits.refusal(replace(request, model=target.model), target.provider))

    def _skip(self, request: RerankRequest, error: LimitExceeded) -> LimitExceeded:
        request.call.recorder.add_skip(self._target.provider, self._target.model, error)
        return error

    def _too_many_calls(self, request: RerankRequest) -> LimitExceeded:
        return LimitExceeded(
            f'provider "{self._target.provider}" takes too little in one call: this request of '
            f"{len(request.documents)} documents would need more than {MAX_CALLS} calls; send fewer documents",
            status=413,
        )

    async def _rank_parts(self, request: RerankRequest, parts: Sequence[Part]) -> Ranking:
        """All parts as one attempt, which is recorded with them."""
        recorder, target = request.call.recorder, self._target
        if not await request.call.take_attempt():
            spent = AttemptsSpent("this request has made as many attempts as request_limits.attempts allows")
            recorder.add_skip(target.provider, target.model, spent)
            raise spent
        attempt = recorder.begin_attempt(target.provider, target.model)
        run = _Run(self, request, PartRecorder(parent=recorder))
        status: int | None = None
        message: str | None = "internal error"
        code = "internal_error"
        try:
            merged = merge(await run.rank(parts))
            results = verify(merged.results, request)
            spans, warnings = verify_spans(merged, results, request.documents)  # All together may be too many.
            ranking = replace(merged, results=results, spans=spans, warnings=warnings)
            status, message, code = 200, None, ""
            return ranking
        except RerankError as error:
            status, message, code = error.status, error.message, error.code
            raise
        except CancelledError:
            message, code = "cancelled", "cancelled"
            raise
        finally:
            records = run.recorder.attempts
            cost = total(record.cost for record in records if record.cost is not None or not record.error)
            attempt.finish(status, message, code, cost=cost, parts=tuple(sorted(records, key=_start)))


class _Run:
    """The parts of one request while they are called."""

    def __init__(self, policy: Split, request: RerankRequest, recorder: PartRecorder) -> None:
        self._policy, self._request, self.recorder = policy, request, recorder
        self._left = deque[Part]()
        self._answers: list[tuple[int, Ranking]] = []
        self._refusal: Skipped | Overloaded | None = None
        self._calls = self._returns = 0

    async def rank(self, parts: Sequence[Part]) -> list[tuple[int, Ranking]]:
        """The answers of all parts, each with the position of its first document.

        A part that was not sent, because a breaker lets one call through to probe its target, or for want of a slot,
        comes back. No other is begun then; when those under way were answered, the rest is sent.
        """
        self._left, self._calls = deque(parts), len(parts)
        while self._left:
            before = len(self._answers)
            refusal = await self._work_together()
            if refusal is not None and (len(self._answers) == before or self._returns > MAX_RETURNS):
                raise refusal
        return self._answers

    async def _work_together(self) -> Skipped | Overloaded | None:
        """As many tasks as calls may be under way, for however many parts. The first that fails ends them all.

        The result is why a part came back, if one did.
        """
        self._refusal = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._policy.concurrency, len(self._left))):
                    tasks.create_task(self._work())
        except ExceptionGroup as errors:
            raise first_error(errors) from None
        return self._refusal

    async def _work(self) -> None:
        while self._left and self._refusal is None:
            part = self._left.popleft()
            try:
                self._answers.extend(await self._rank_or_halve(part, MAX_HALVINGS))
            except (Skipped, Overloaded) as error:
                self._refusal = error.with_traceback(None)
                self._returns += 1
                self._left.append(part)

    async def _rank_or_halve(self, part: Part, halvings: int) -> list[tuple[int, Ranking]]:
        first, end = part
        request = self._request_of(part)
        try:
            return [(first, await self._policy.backend.rerank(request))]
        except (TooLong, LimitExceeded) as error:
            if not halvings or not self._policy._may_divide(request, error):
                raise
        self._count_halves()
        middle = (first + end) // 2
        left = await self._rank_or_halve((first, middle), halvings - 1)
        return left + await self._rank_or_halve((middle, end), halvings - 1)

    def _count_halves(self) -> None:
        self._calls += 2
        if self._calls > MAX_CALLS:
            raise self._policy._too_many_calls(self._request)

    def _request_of(self, part: Part) -> RerankRequest:
        request = part_of(self._request, *part)
        # The parts count as one attempt together; each further call of a part counts like any other.
        attempts = AttemptCounter(permit_another=self._request.call.take_attempt)
        recorder = replace(self.recorder, documents=len(request.documents))  # It shares the list of attempts.
        return replace(request, call=replace(request.call, attempts=attempts, recorder=recorder))
