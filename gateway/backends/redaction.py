"""Nothing that was sent to a provider comes back in its error message: no secret, query or document."""

from __future__ import annotations

import re
from collections.abc import Iterable

from providers.types import RerankRequest

MASK = "***"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SHORTEST = 6
"""A shorter text is a word that a message may hold by chance."""

_START = 24
"""Vendors cut what they quote, so the first characters of a text give it away."""


def redact(message: str, secrets: Iterable[str], request: RerankRequest) -> str:
    """The message without the secrets and without what it quotes of the request's texts."""
    for secret in secrets:
        message = message.replace(secret, MASK)
    for text in (request.query, *(request.queries or ()), *request.documents):
        if isinstance(text, str):
            for form in {text, one_line(text)}:
                if len(form) >= _SHORTEST:
                    message = _without(message, form)
    return message


def one_line(text: str) -> str:
    """The text with a space for whatever does not print; a vendor's message is shown so, and what it quotes too."""
    return _UNPRINTABLE.sub(" ", text).strip()


def _without(message: str, text: str) -> str:
    start = text[:_START]
    at = message.find(start)
    while at >= 0:
        end = at + len(start)
        while end < len(message) and message.startswith(text[: end - at + 1], at) and end - at < len(text):
            end += 1
        message = message[:at] + MASK + message[end:]
        at = message.find(start, at + len(MASK))
    return message
