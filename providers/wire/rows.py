"""Where servers put the rows of a ranking, and what they call a row's parts.

{"results": [{"index", "relevance_score"}]}     Cohere, Jina, vLLM, Infinity, llama.cpp, and most others
{"data": [{"index", "relevance_score"}]}        Voyage; with `score` Mixedbread, Pinecone and vLLM's score API
{"rankings": [{"index", "logit"}]}              NVIDIA NIM; `ranks` is another's word for it
{"rerank": [{"index", "relevance_score"}]}      Elastic
{"response": [{"id", "score"}]}                 Cloudflare, whose `id` is the index
{"output": {"results": […]}}                    DashScope; Cloudflare's REST API puts its answer under `result`
{"results": [{"index", "relevanceScore"}]}      Bedrock
[{"index", "score"}]                            SGLang, text-embeddings-inference
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

SCORES = ("relevance_score", "score", "logit", "relevanceScore")
"""Names of a row's score. The first that has a value counts: 0.0 is one, NaN and infinity are none."""

_ROWS = ("results", "data", "rankings", "ranks", "rerank", "response")
_ENVELOPES = ("output", "result", "response", "data")
_INDEX = {"response": "id"}
"""What a row's index is called, for names of rows where it is not `index`. Elsewhere an `id` is a document's own."""


def find_rows(answer: Any, documented: str) -> Iterator[list[Any]]:
    """Every list in an untyped answer that may be its rows, the documented name's first, each row with its index under
    `index` and its score under all of SCORES."""
    if isinstance(answer, list):
        yield _rename_all(answer, "index")
    if isinstance(answer, dict):
        names = dict.fromkeys((documented, *_ROWS))
        places: list[Any] = [answer, *map(answer.get, _ENVELOPES)]
        for place in places:
            for name in names if isinstance(place, dict) else ():
                if isinstance(place.get(name), list):
                    yield _rename_all(place[name], _INDEX.get(name, "index"))


def has_scores(rows: list[Any]) -> bool:
    """Whether any of the rows, as `find_rows` gives them, has a score."""
    return any(isinstance(row, dict) and row[SCORES[0]] is not None for row in rows)


def _rename_all(rows: list[Any], index: str) -> list[Any]:
    return [_rename(row, index) if type(row) is dict else row for row in rows]


def _rename(row: dict[str, Any], index: str) -> dict[str, Any]:
    """Plain steps: servers with names of their own have every row read here."""
    place = row.get("index")
    score = None
    for name in SCORES:
        score = row.get(name)
        if score is not None and (type(score) is not float or isfinite(score)):
            break
        score = None
    return {
        "index": row.get(index) if place is None else place,
        "relevance_score": score,
        "score": score,
        "logit": score,
        "relevanceScore": score,
    }
