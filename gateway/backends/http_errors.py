"""Turn an unsuccessful HTTP response into the error it means. providers/errors.py shows the mapping."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from gateway.backends.redaction import MASK, one_line
from gateway.backends.retry_after import rate_limit_reset, retry_after
from gateway.transport.base import Response
from providers.errors import CredentialsRejected, RateLimited, Rejected, TargetError, TargetFailed, TooLong
from providers.spec import Bearer, Header, HttpProvider
from providers.wire.too_long import is_of_call, is_too_long, max_documents, max_tokens

_CALLERS_FAULT = frozenset({400, 404, 413, 422, 498})
"""Statuses that blame the request, which another attempt would not change. 498 is Cohere's, for a blocked word."""

_CREDENTIALS = frozenset({401, 402, 403})
_MAX_TEXT = 500


def refusal(provider: HttpProvider, name: str, response: Response, secrets: Iterable[str]) -> TargetError:
    """The error that a status other than 2xx stands for.

    Args:
        provider: the adapter, which knows where the vendor puts its text.
        name: the configured name of the provider.
        response: the answer.
        secrets: what is masked in whatever the vendor wrote.
    """
    status = response.status
    text = sanitize(provider.error_message(response.body), secrets)
    if is_too_long(status, text, provider.too_long):
        return TooLong(
            text or f'provider "{name}" answered {_status_phrase(status)}',
            status=status,
            is_of_call=is_of_call(status, text),
            max_documents=max_documents(text),
            max_tokens=max_tokens(text),
        )
    if status in _CREDENTIALS:
        # The vendor's own text is left out: some echo parts of the key.
        return CredentialsRejected(
            f'provider "{name}" refused the gateway\'s own credentials or account ({_status_phrase(status)}); '
            f'check the {_credential(provider)} configured for "{name}"',
            status=status,
        )
    if 300 <= status < 400:
        return TargetFailed(
            f'provider "{name}" answered with a redirect ({status}), which is not followed; '
            "configure the final address as base_url",
            status=status,
        )
    wait = retry_after(response.headers)
    if status in _CALLERS_FAULT:
        return Rejected(text or f'provider "{name}" answered {_status_phrase(status)}', status=status)
    if status == 429:
        wait = rate_limit_reset(response.headers) if wait is None else wait
        return RateLimited(text or f'provider "{name}" asks for fewer calls', status=status, retry_after=wait)
    detail = f": {text}" if text else ""
    return TargetFailed(
        f'provider "{name}" failed with status {_status_phrase(status)}{detail}', status=status, retry_after=wait
    )


def _credential(provider: HttpProvider) -> str:
    return "api_key" if isinstance(provider.auth, Bearer | Header) else "cloud account"


def sanitize(text: str, secrets: Iterable[str]) -> str:
    """A vendor's text as one printable line of sane length, our secrets masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = one_line(text)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _status_phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
