"""What is known of one target's model before it answers, and what it makes of an answer."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from providers.types import Ranking, RerankRequest, ScoreSpace

UNIT_SPACES = frozenset({"probability", "calibrated"})
"""The spaces whose scores lie from 0 to 1."""


class TargetFacts(Struct, frozen=True):
    """Facts of one target's model.

    Attributes:
        declared: what its scores are, as the adapter says.
        corrected: as the operator says, who knows best; unknown if nothing.
        logits_by: fields with which callers get logits in place of probabilities, and the value that does it.
    """

    declared: ScoreSpace = "unknown"
    corrected: ScoreSpace = "unknown"
    logits_by: Mapping[str, bool] = {}

    def static_space(self, of_backend: ScoreSpace = "unknown") -> ScoreSpace:
        """What the scores of a request without wishes are: as the operator says, else the backend, else the adapter."""
        if self.corrected != "unknown":
            return self.corrected
        return self.declared if of_backend == "unknown" else of_backend

    def score_space(self, ranking: Ranking, request: RerankRequest) -> ScoreSpace:
        """What the scores of this answer are."""
        space = self.static_space(ranking.score_space)
        if request.extra and space in UNIT_SPACES and self._asks_for_logits(request):
            return "logit"
        return space

    def _asks_for_logits(self, request: RerankRequest) -> bool:
        return any(request.extra.get(name) is value for name, value in self.logits_by.items())


NO_FACTS = TargetFacts()
