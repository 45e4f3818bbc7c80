"""An instruction in the text of the query, for models that look for it there."""

from __future__ import annotations

from providers.types import ContentParts, RerankRequest, TextOrParts


def instructed_query(request: RerankRequest) -> TextOrParts:
    """The query, after the instruction on a line of its own if there is one."""
    query, instruction = request.query, request.instruction
    if not instruction:
        return query
    if isinstance(query, str):
        return f"{instruction}\n{query}"
    return ContentParts([{"type": "text", "text": instruction}, *query.content])
