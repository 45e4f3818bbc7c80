"""Rank more documents than one request should carry: in parts, whose answers are merged.

Only where each document is scored by itself: a listwise model compares the documents of one call with each other, so
scores of two calls mean nothing beside one another. For the same reason all parts must have been ranked by one model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.api.dialect import WireDocument
from gateway.api.dialects.unified.request import Body
from gateway.cli.asker import Asker, Reply
from gateway.routing.facts import ModelFacts
from providers.errors import InvalidRequest, TargetFailed

BATCH_DOCUMENTS = 256
"""Documents of one part, unless the model takes fewer or the user says another number."""
MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of the documents of one part; a single larger document is a part of its own."""


def batch_size(facts: ModelFacts, chosen: int | None) -> int | None:
    """Documents of one part; None if the request must not be split.

    Args:
        facts: of the model.
        chosen: by the user, who also says by it that the model may be split, where that is unknown.

    Raises:
        InvalidRequest: the user wants parts of a listwise model.
    """
    if facts.scoring == "listwise" and chosen is not None:
        raise InvalidRequest(
            "this model is listwise: it compares the documents of one request with each other, so the scores of "
            "several requests cannot be merged; leave --batch-size out"
        )
    if facts.scoring != "pointwise" and chosen is None:
        return None
    return chosen or min(BATCH_DOCUMENTS, facts.documents or BATCH_DOCUMENTS)


def split(documents: Sequence[WireDocument], size: int) -> Iterator[list[WireDocument]]:
    """Parts of at most that many documents and MAX_BATCH_BYTES, in the order given."""
    part: list[WireDocument] = []
    held = 0
    for document in documents:
        length = len(msgspec.json.encode(document))
        if part and (len(part) == size or held + length > MAX_BATCH_BYTES):
            yield part
            part, held = [], 0
        part.append(document)
        held += length
    if part:
        yield part


async def ask_in_parts(asker: Asker, body: Body, size: int, advance: Callable[[int], None]) -> Reply:
    """Rank the documents part by part, and merge the answers into one.

    Args:
        asker: whom to ask.
        body: the whole request, with one document at least.
        size: documents of one part.
        advance: told how many more documents are ranked.

    Raises:
        RerankError: of the first part that fails; TargetFailed if the parts were not ranked by one model.
    """
    replies: list[tuple[int, Reply]] = []
    start = 0
    for part in split(body.documents or [], size):
        replies.append((start, await asker.ask(replace(body, documents=part))))
        _check_same_model(replies[0][1], replies[-1][1])
        start += len(part)
        advance(len(part))
    return replies[0][1] if len(replies) == 1 else merge(replies, body.top_n)


def merge(replies: Sequence[tuple[int, Reply]], top_n: int | None) -> Reply:
    """One answer made of the parts': best first, cut to `top_n`, with what they cost and counted together.

    Args:
        replies: each with the position of its first document; at least one.
        top_n: how many results to keep; None keeps all.
    """
    results = [{**row, "index": row["index"] + start} for start, reply in replies for row in reply["results"]]
    results.sort(key=lambda row: (-row["relevance_score"], row["index"]))
    parts = [reply for _, reply in replies]
    merged = {**parts[0], "results": results[:top_n]}
    if usage := _sums([part.get("usage") or {} for part in parts]):
        merged["usage"] = usage
    told = [part["extra_fields"] for part in parts]
    extra = {name: value for name, value in told[0].items() if not _is_number(value)} | _sums(told)
    if attempts := [attempt for part in parts for attempt in part["extra_fields"].get("attempts", [])]:
        extra["attempts"] = attempts
    return {**merged, "extra_fields": extra}


def _sums(counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of each number that every part has: where one does not know it, nobody knows the whole."""
    names = counts[0].keys()
    return {
        name: sum(count[name] for count in counts)
        for name in names
        if all(_is_number(count.get(name)) for count in counts)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _target(reply: Reply) -> str:
    fields = reply["extra_fields"]
    return f"{fields.get('provider')}/{fields.get('resolved_model_used') or reply['model']}"


def _check_same_model(first: Reply, other: Reply) -> None:
    names = {_target(first), _target(other)}
    if len(names) > 1:
        raise TargetFailed(
            f"parts of the documents were ranked by different models ({' and '.join(sorted(names))}), whose scores "
            "cannot be compared; try again, or name a model without fallbacks"
        )
