"""LiteLLM's `rerank()` by each of its prefixes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import litellm
from cases import *  # noqa: F403  # the shared cases
from cases import DOCUMENTS, Client, Gateway, Rank, Row
from litellm.exceptions import AuthenticationError, BadRequestError, NotFoundError

litellm.suppress_debug_info = True


def by(prefix: str, base: str = "", run: Any = None) -> Rank:
    def rank(gateway: Gateway, query: str, top_n: int | None, documents: bool) -> list[Row]:
        written: list[dict[str, Any]] = []
        recorder = SimpleNamespace(rerank=lambda **arguments: written.append(arguments))
        gateway.run(f"litellm-{prefix}", litellm=recorder)
        asked = {"query": query, "documents": DOCUMENTS}
        arguments = {**written[0], **asked, "return_documents": documents, **({"top_n": top_n} if top_n else {})}
        if base:
            arguments["api_base"] = gateway.url + base
        response = asyncio.run(litellm.arerank(**arguments)) if run else litellm.rerank(**arguments)
        return [
            Row(row["index"], row["relevance_score"], row.get("document", {}).get("text")) for row in response.results
        ]

    return rank


PREFIXES = ["cohere", "jina_ai", "voyage", "hosted_vllm"]
ERRORS = (NotFoundError, BadRequestError, AuthenticationError)
BAD_MODEL = (BadRequestError, BadRequestError, AuthenticationError)
INFINITY = {"unknown_model": "nope/none", "no_query": "query", "wrong_key": "Unauthorized"}
CLIENTS = {
    **{prefix: Client(by(prefix), *ERRORS) for prefix in PREFIXES},
    **{f"{prefix}, async": Client(by(prefix, run=True), *ERRORS) for prefix in PREFIXES},
    "infinity": Client(by("infinity"), *BAD_MODEL, sentences=INFINITY),
    "infinity, async": Client(by("infinity", run=True), *BAD_MODEL, sentences=INFINITY),
    "cohere, a version too many": Client(by("cohere", "/v1"), *ERRORS),
    "cohere, strict": Client(by("cohere", "/cohere"), *ERRORS, echoes=False),
    "voyage, strict": Client(by("voyage", "/voyage"), *BAD_MODEL),
    "hosted_vllm, strict": Client(by("hosted_vllm", "/vllm"), *ERRORS, says=False),
}
