"""Everything that can go wrong while reranking, as one tree.

    RerankError
    ├── CallerError                 the request itself is at fault; no retry of it can help
    │   ├── InvalidRequest          400  a field is missing or wrong
    │   └── Unsupported             400  this target cannot do what was asked
    └── TargetError                 one target failed; the next may serve
        ├── Unreachable             502  no answer: DNS, connect, TLS, reset
        │   ├── AnswerBroken        502  an answer began, and was broken off
        │   └── NotHttp             502  what came is no HTTP
        ├── TargetTimeout           504  no answer in time
        ├── BadAnswer               502  a 200 that does not parse or breaks the contract
        │   └── AnswerTooLarge      502  over our own limit of an answer, so that we did not read it whole
        ├── Rejected                 as is: 400, 404, 413, 422, 498
        │   ├── TooLong             413  the target says that a text, or the whole call, is over what it takes (as is:
        │   │                            400, 422)
        │   └── LimitExceeded       413  one of the target's known limits; it was not asked
        ├── CredentialsRejected     502  401, 402, 403: the gateway's key is at fault, not the caller's
        ├── RateLimited             429  with the seconds to wait, if the target said so
        ├── TargetFailed            502  any other status (503 and 504 stay as they are)
        ├── Overloaded              429  our own queue for this target, or its connections, are full
        └── NotReady                503  the local model is still loading, or failed to load

`code` is a stable snake_case word for machines (`error_type` on the wire), `retryable` says whether the same target
may answer the same request a moment later.
"""

from __future__ import annotations

from typing import ClassVar

OVERLOAD_SECONDS = 1.0
"""Seconds until room can be hoped for: the shortest time that `Retry-After` can say."""


class RerankError(Exception):
    """Root of the tree. `message` is safe to show to the caller: no secret, query or document text.

    Args:
        message: one sentence that says what to change or what happened.
        status: the HTTP status the target answered with, if it answered.
        retry_after: seconds the target asked us to wait, if it did.

    Attributes:
        has_skipped: whether the target has another address, which was not called because it failed too often.
    """

    code: ClassVar[str] = "rerank_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.has_skipped = False


class CallerError(RerankError):
    """The request itself is at fault."""

    code = "invalid_request"


class InvalidRequest(CallerError):
    """A field is missing or wrong."""


class Unsupported(CallerError):
    """The chosen target cannot do what was asked; another may."""

    code = "unsupported"


class TargetError(RerankError):
    """One target failed; the next may serve."""

    code = "target_error"


class Unreachable(TargetError):
    """No answer: name not resolved, connection refused or reset, TLS failed."""

    code = "upstream_unreachable"
    retryable = True


class AnswerBroken(Unreachable):
    """Some of an answer came, then the connection broke."""


class NotHttp(Unreachable):
    """What came is no HTTP message, has more framing than one needs, or is not in the content coding that it names."""

    retryable = False


class TargetTimeout(TargetError):
    """No complete answer in time.

    Args:
        message, status, retry_after: see RerankError.
        waited: seconds for which the target itself had been waited for, without our own queues; None if unknown.
    """

    code = "upstream_timeout"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        waited: float | None = None,
    ) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.waited = waited


class BadAnswer(TargetError):
    """A 200 that does not parse, or whose ranking breaks the contract."""

    code = "upstream_bad_answer"


class AnswerTooLarge(BadAnswer):
    """A 200 with more bytes than we read: our own limit, so the target is not at fault."""


class Rejected(TargetError):
    """The target refused this request with a 4xx that is about the request."""

    code = "upstream_rejected"


class TooLong(Rejected):
    """The target was asked, and says that a text is longer, or a call larger, than it takes: whatever its status.

    Args:
        message, status, retry_after: see RerankError.
        is_of_call: whether it speaks of the whole call: fewer of the same documents could be taken.
        max_documents: the most documents of a call, if it says so.
        max_tokens: the most tokens of a query and a document, if it says so.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        is_of_call: bool = False,
        max_documents: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.is_of_call = is_of_call
        self.max_documents = max_documents
        self.max_tokens = max_tokens


class LimitExceeded(Rejected):
    """The request exceeds a limit that the target is known to have; the target was not asked."""


class CredentialsRejected(TargetError):
    """The target refused the gateway's own credentials or its account (401, 402, 403)."""

    code = "upstream_credentials"


class RateLimited(TargetError):
    """The target asked for a pause (429)."""

    code = "rate_limited"
    retryable = True


class TargetFailed(TargetError):
    """The target answered with any other error status."""

    code = "upstream_error"
    retryable = True


class Overloaded(TargetError):
    """We have no room for another call of this target: our queue, our connections. It says nothing of the target."""

    code = "overloaded"

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = OVERLOAD_SECONDS
    ) -> None:
        super().__init__(message, status=status, retry_after=retry_after)


class NotReady(TargetError):
    """The local model is still loading, or failed to load."""

    code = "not_ready"
