"""Reading an answer: typed and fast for the documented shape, tolerant where servers are known to differ.

The documented shape takes one typed pass. Only a body that does not fit, or has no row, is read again, untyped:

- A side field (the answer's id, its usage) that is not what it should be counts as absent, and so does a part of one.
  A sound ranking is never thrown away for it.
- The rows may be under another name, or be the whole answer; a score may have another name (see `wire.rows`).
- Python's own JSON reader takes what servers write and JSON has not: NaN, half a surrogate pair, a byte order mark.
- Where there is no ranking at all, the vendor's sentence tells why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from providers.errors import BadAnswer
from providers.types import Ranked, RerankRequest, Usage
from providers.wire import side_fields
from providers.wire.errors import message_of
from providers.wire.json_text import parse
from providers.wire.rows import SCORES, find_rows, has_scores

Answer = TypeVar("Answer", bound=Struct)

Rows = Annotated[list[Ranked], msgspec.Meta(min_length=1)]
"""The documented rows. An empty list does not fit: the rows may be elsewhere, or the vendor says why there are none."""


class Scored(Struct):
    """A row whose score is under `score`, as several vendors write it."""

    index: int
    score: float


ScoredRows = Annotated[list[Scored], msgspec.Meta(min_length=1)]
"""As Rows."""

_UNKNOWN_PATH = "Unexpected endpoint"
"""LM Studio's answer to a path it does not know, with a 200: https://github.com/CherryHQ/cherry-studio/issues/8547."""


def decode_response(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    """Decode the body of a 200.

    Args:
        body: as it came.
        decoder: of the documented shape. Its required fields make a ranking; the others are side fields.

    Raises:
        ValueError: the body is neither of that shape nor of one that servers are known to answer.
        BadAnswer: the body has no ranking and says why, or is nested too deeply.
    """
    try:
        return _decode(body, decoder)
    except RecursionError:
        raise BadAnswer("the answer is nested too deeply") from None


def ranked(rows: Iterable[Scored]) -> list[Ranked]:
    """Those rows as a ranking has them."""
    return [Ranked(row.index, row.score) for row in rows]


def expect_all(given: int, request: RerankRequest) -> None:
    """Of an answer by position: with more or fewer items than documents, scores may stand at the wrong ones.

    Raises: BadAnswer.
    """
    asked = len(request.documents)
    if given != asked:
        raise BadAnswer(f"it has {given} scores in the order of the documents, of which there are {asked}")


def known_usage(usage: Usage | None) -> Usage | None:
    """None if nothing was counted. All zero means so too: no query is free of tokens, and servers that do not count
    say 0."""
    if usage is None:
        return None
    counted = usage.prompt_tokens or usage.total_tokens or usage.billed_tokens or usage.search_units
    return usage if counted else None


def _decode(body: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _read(_parse(body), decoder.type)
        if answer is None:
            raise
        return answer


def _parse(body: bytes) -> Any:
    """The answer, untyped; None if no reader takes it. Raises BadAnswer if the server has no rerank API."""
    try:
        return parse(body, errors="replace")
    except ValueError:
        if _UNKNOWN_PATH.encode() in body:
            raise _no_ranking(body.decode(errors="replace")) from None
        return None


def _read(answer: Any, shape: type[Answer]) -> Answer | None:
    """The answer in its documented shape, or None. Raises BadAnswer if it has no ranking and says why."""
    is_scored, lists = False, list[list[Any]]()
    for candidate, rows in _candidates(answer, _name_of_rows(shape)):
        try:
            return side_fields.convert(candidate, shape)
        except ValueError:
            is_scored = is_scored or has_scores(rows)
            lists.append(rows)
    sentence = "" if is_scored else _sentence(answer)
    if sentence:
        raise _no_ranking(sentence)
    if isinstance(answer, Mapping) and _name_of_rows(shape) is not None and lists and not any(lists):
        raise BadAnswer("the answer has no results")
    return None


def _candidates(answer: Any, name: str | None) -> Iterator[tuple[Mapping[str, Any], list[Any]]]:
    """The answer, once with each list that may be its rows, and that list; as it is if its rows have no name here."""
    side = answer if isinstance(answer, Mapping) else {}
    if name is None:
        yield side, []
    else:
        yield from (({**side, name: rows}, rows) for rows in find_rows(answer, name))


def _sentence(answer: Any) -> str:
    """What the vendor says in place of a ranking, at the top or one level below; "" if nothing."""
    values = answer.values() if isinstance(answer, Mapping) else ()
    below = [value for value in values if isinstance(value, Mapping | list)]
    return next(filter(None, map(message_of, (answer, *below))), "")


def _no_ranking(sentence: str) -> BadAnswer:
    if _UNKNOWN_PATH in sentence:
        return BadAnswer(f"this server has no rerank API (it says: {sentence})")
    return BadAnswer(f"it has no ranking, but says: {sentence}")


@lru_cache(maxsize=side_fields.MAX_SHAPES)
def _name_of_rows(shape: type[Struct]) -> str | None:
    """The required field that lists rows of an index and a score; None if the vendor has other names for those."""
    return next((field.encode_name for field in fields(shape) if field.required and _are_rows(field.type)), None)


def _are_rows(kind: Any) -> bool:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    row = get_args(kind)[0] if get_origin(kind) is list else None
    if not (isinstance(row, type) and issubclass(row, Struct)):
        return False
    names = {field.encode_name for field in fields(row)}
    return "index" in names and not names.isdisjoint(SCORES)
