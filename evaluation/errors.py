"""What stops an evaluation."""

from __future__ import annotations

from providers.errors import InvalidRequest


class EvaluationError(InvalidRequest):
    """An evaluation cannot be made as asked. The message says what to change, and holds no query or document."""
