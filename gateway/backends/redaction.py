"""Mask what a provider's error message quotes of a request: secrets, the query, the instruction and documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from providers.types import ContentParts, RerankRequest

MASK = "***"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""Control characters and line separators."""

_ELISION = re.compile(r"([\w+/=-]*)(?:\*{2,}|\.{2,}|…|•{2,}|[xX]{4,})([\w+/=-]*)")
"""How vendors show parts of a key: what is before and behind the part that is left out."""

_MIN_LENGTH = 6
"""Characters. A shorter text may occur in a message by chance, like a common word, and is left."""

_PREFIX_LENGTH = 24
"""Characters. Vendors often quote only the beginning of a text, so its first characters are enough for a match."""


def redact(message: str, secrets: Iterable[str], request: RerankRequest) -> str:
    """The message with secrets and quotations masked.

    Args:
        message: of a provider, on one line; see `one_line`.
        secrets: masked wherever they occur, or their beginning or end beside an elision, as in `sk-12...89`.
        request: masked are its query, queries, instruction and documents of at least 6 characters, or their beginnings;
            of content parts every text and URL.
    """
    for secret in secrets:
        message = _mask_parts(message.replace(secret, MASK), secret)
    for text in _texts(request):
        if text and (text[:_PREFIX_LENGTH] in message or _start(text) in message):
            # The message went through `one_line`, and so did what it quotes.
            for form in {text, one_line(text)}:
                if len(form) >= _MIN_LENGTH:
                    message = _mask_quotes(message, form)
    return message


def _texts(request: RerankRequest) -> Iterator[str]:
    """What the caller wrote, in content parts too."""
    for text in (request.query, request.instruction, *(request.queries or ()), *request.documents):
        if isinstance(text, str):
            yield text
        elif isinstance(text, ContentParts):
            yield from _strings(text.content)


def _strings(part: Any) -> Iterator[str]:
    """Every text within a content part but its `type`, a word that messages need. As deep as JSON may be."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for name, value in part.items():
            if name != "type":
                yield from _strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from _strings(value)


def _start(text: str) -> str:
    """The beginning of the text as `one_line` has it, without going through all of it if that can be avoided.

    A request may be large, and in an outage each of its attempts ends with a message.
    """
    head = text[: 2 * _PREFIX_LENGTH]
    if head.isprintable() and not head[0].isspace():
        return head[:_PREFIX_LENGTH]
    short = one_line(head)
    return (short if len(short) >= _PREFIX_LENGTH or len(head) == len(text) else one_line(text))[:_PREFIX_LENGTH]


def one_line(text: str) -> str:
    """The text with a space in place of unprintable characters, so that it can neither forge log lines nor hide."""
    return _UNPRINTABLE.sub(" ", text).strip()


def _mask_parts(message: str, secret: str) -> str:
    def mask(match: re.Match[str]) -> str:
        start, end = match.groups()
        is_part = (start and secret.startswith(start)) or (end and secret.endswith(end))
        return MASK if is_part else match[0]

    return _ELISION.sub(mask, message)


def _mask_quotes(message: str, text: str) -> str:
    start = text[:_PREFIX_LENGTH]
    at = message.find(start)
    while at >= 0:
        end = at + len(start)
        # Extend the match for as long as the message goes on like the text.
        while end < len(message) and message.startswith(text[: end - at + 1], at) and end - at < len(text):
            end += 1
        message = message[:at] + MASK + message[end:]
        at = message.find(start, at + len(MASK))
    return message
