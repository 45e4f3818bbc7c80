"""What all clients make of an answer's content coding, and of an error answer whose body cannot be had."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http1 import content_coding
from gateway.http1.content_coding import BrokenCoding, DecodedTooLarge, UnreadableCoding
from gateway.transport.base import Response
from gateway.transport.network import host_of
from providers.errors import AnswerTooLarge, BadAnswer, NotHttp, TargetError


async def decode(response: Response, limit: int, url: str) -> Response:
    """The response without its content coding. An error answer that cannot be decoded loses its body only.

    Args:
        response: as it was sent.
        limit: bytes of the body.
        url: of the request, for messages.

    Raises:
        BadAnswer: the coding is none that we read.
        AnswerTooLarge: the body is over the limit.
        NotHttp: the body is not what its coding says.
    """
    coding = _coding(response.headers)
    if not coding or not response.body:
        return response
    try:
        return Response(response.status, response.headers, await content_coding.decode(response.body, coding, limit))
    except (UnreadableCoding, BrokenCoding, DecodedTooLarge) as error:
        if is_error(response.status):
            return without_body(response)
        raise _explain(error, limit, url, response.status) from error


def is_error(status: int) -> bool:
    """Whether the status alone says what happened. What comes with it is then welcome, but not needed."""
    return status >= 300


def without_body(response: Response) -> Response:
    """The status and the headers of an error answer."""
    return Response(response.status, response.headers, b"")


def too_large(limit: int, url: str, status: int) -> AnswerTooLarge:
    """The error for a body over the limit."""
    return AnswerTooLarge(
        f"{host_of(url)} answered with more than {limit} bytes, our limit for this request; "
        "send fewer documents, or raise request_limits.answer_bytes",
        status=status,
    )


def join_codings(headers: Mapping[str, str], values: list[str]) -> Mapping[str, str]:
    """The headers with all values of a repeated Content-Encoding, whose order counts (RFC 9110 section 5.3)."""
    return {**headers, "content-encoding": ", ".join(values)} if len(values) > 1 else headers


def _coding(headers: Mapping[str, str]) -> str:
    """All codings of the body, in the order in which they were applied: those of the content, then of the transfer."""
    coding, transfer = headers.get("content-encoding", ""), headers.get("transfer-encoding", "chunked")
    if transfer == "chunked":
        return coding
    names = [coding, *(name for name in transfer.split(",") if name.strip().lower() != "chunked")]
    return ", ".join(names)


def _explain(error: Exception, limit: int, url: str, status: int) -> TargetError:
    if isinstance(error, DecodedTooLarge):
        return too_large(limit, url, status)
    if isinstance(error, UnreadableCoding):
        return BadAnswer(
            f"{host_of(url)} answered in the content coding {error.args[0]}, but was asked for gzip", status=status
        )
    return NotHttp(f"{host_of(url)} broke off its answer, or it is not the gzip that it is said to be")
