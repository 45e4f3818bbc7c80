"""Whether a server refuses a call for its size: a text over what the model reads, or more of them than one call takes.

Servers say so with nearly any status, and in words of their own:

    400  vLLM: "This model's maximum context length is 8192 tokens. However, you requested 20673 tokens …"
    400  Voyage: "The max allowed tokens per submitted batch is 100000. Your batch has 145736 tokens …"
    403  Together: "Input token count … must be less than the context length"
    413  text-embeddings-inference up to 1.8, and whatever counts bytes
    422  text-embeddings-inference: "`inputs` must have less than 512 tokens. Given: 534"
    500  llama.cpp: "input (2793 tokens) is too large to process (current batch size: 2048)"

An adapter names the statuses; with those the sentence decides. A 413 needs none (RFC 9110 section 15.5.14).
"""

from __future__ import annotations

import re
from collections.abc import Container

_TEXTS = r"(?:(?:input|text|prompt|document|passage|sequence|content|pair|request|record)s?|query|queries)"
_OVER = r"(?:exceed\w*|(?:more|longer|larger|greater|less|fewer) than|at most|max(?:imum)?\b|limit\b|over)"
_SIZE = re.compile(
    "|".join(
        [
            r"\bcontext (?:length|window|size)\b",
            r"\b(?:longer|larger|greater) than the (?:maximum |max |model'?s? )*(?:context|model|length)\b",
            rf"\b{_TEXTS}\b.{{0,60}}\btoo (?:long|large|big)\b",
            rf"\btoo many (?:input )?(?:tokens|characters|sources|questions|{_TEXTS})\b",
            rf"\b{_OVER}.{{0,60}}\b(?:tokens|characters)\b",
            rf"\btokens?\b.{{0,60}}\b{_OVER}",
            r"\bmax(?:imum)? (?:allowed )?(?:batch size|input length|sequence length|model length)\b",
            r"\b(?:range of input length|maxlength: \d+, actual)\b",
            r"\bat most \d+ (?:items|records|documents)\b",
        ]
    ),
    re.IGNORECASE,
)
_RATE = re.compile(r"\b(?:rate|quota|per (?:second|minute|hour|day|month)|balance|expired|api)\b", re.IGNORECASE)
"""What limits of another kind speak of: tokens may also be those of a minute, or of a key."""

MAX_SENTENCE = 500
"""Characters of a sentence that are looked at."""


def is_too_long(status: int, sentence: str, statuses: Container[int]) -> bool:
    """Whether an error answer means that.

    Args:
        status: of the answer.
        sentence: the vendor's own, "" if there is none.
        statuses: with which this vendor says it (`too_long` of its adapter).
    """
    if status == 413:
        return True
    sentence = sentence[:MAX_SENTENCE]
    return status in statuses and _SIZE.search(sentence) is not None and _RATE.search(sentence) is None


_CALL = re.compile(
    r"\bbatch|\b(?:items|records|documents|passages|pairs|sources|questions|payload)\b|\bper (?:request|call)\b"
    r"|\brequest (?:body|entity|(?:is )?too (?:large|big))\b",
    re.IGNORECASE,
)
_ONE_TEXT = re.compile(r"\bphysical batch|\bcurrent batch size\b|\bcontext (?:length|window|size)\b", re.IGNORECASE)
"""Of llama.cpp, where a batch is what one text is read in; and of models, which read one text at a time."""

_ANY_TEXT = re.compile(r"\b(?:inputs?|texts?|prompt|document|passage|query|tokens|characters)\b", re.IGNORECASE)

_MAX_DOCUMENTS = re.compile(
    r"\bmax(?:imum)? allowed batch size (?:is |of )?(\d{1,6})\b"
    r"|\b(?:at most|maximum of|exceed) (\d{1,6}) (?:items|records|documents|passages|texts)\b",
    re.IGNORECASE,
)


_MAX_TOKENS = re.compile(
    r"\bcontext (?:length|size|window)(?: is| of)?:? \(?(\d{1,7})\b|\bmodel length of (\d{1,7})\b"
    r"|\bcurrent batch size: (\d{1,7})\b|\btokens limit (\d{1,7})\b"
    r"|\b(?:less|fewer) than (?P<below>\d{1,7}) tokens\b",
    re.IGNORECASE,
)


def is_of_call(status: int, sentence: str) -> bool:
    """Whether an answer that means `is_too_long` speaks of the whole call, so that fewer documents could be taken."""
    sentence = sentence[:MAX_SENTENCE]
    if _ONE_TEXT.search(sentence):
        return False
    if _CALL.search(sentence):
        return True
    return status == 413 and _ANY_TEXT.search(sentence) is None


def max_documents(sentence: str) -> int | None:
    """The most documents of a call, where the server's sentence says so."""
    found = _MAX_DOCUMENTS.search(sentence[:MAX_SENTENCE])
    return int(found[1] or found[2]) if found else None


def max_tokens(sentence: str) -> int | None:
    """The most tokens of a query and a document, where the server's sentence says so."""
    found = _MAX_TOKENS.search(sentence[:MAX_SENTENCE])
    if found is None:
        return None
    below = found["below"]
    return int(below) - 1 if below else int(next(group for group in found.groups() if group))
