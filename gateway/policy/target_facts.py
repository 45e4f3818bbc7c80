"""What is known of one target's model before it answers, and what it makes of an answer."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from providers.types import INSTRUCTION_IGNORED, SPANS_UNAVAILABLE, AnswerWarning, Ranking, RerankRequest, ScoreSpace

UNIT_SPACES: frozenset[ScoreSpace] = frozenset({"probability", "calibrated"})
"""The spaces whose scores lie from 0 to 1."""


class TargetFacts(Struct, frozen=True):
    """Facts of one target's model.

    Attributes:
        declared: what its scores are, as the adapter says.
        corrected: as the operator says, who knows best; unknown if nothing.
        instruction: whether it follows an instruction; None if that is unknown, and it is sent.
        logits_by: fields with which callers get logits in place of probabilities, and the value that does it.
    """

    declared: ScoreSpace = "unknown"
    corrected: ScoreSpace = "unknown"
    instruction: bool | None = None
    logits_by: Mapping[str, bool] = {}

    def without_what_it_ignores(self, request: RerankRequest) -> RerankRequest:
        """The request as the model gets it: an instruction to one that takes none would only be in its way."""
        if request.instruction and self.instruction is False:
            return replace(request, instruction=None)
        return request

    def warnings(self, ranking: Ranking, request: RerankRequest) -> tuple[AnswerWarning, ...]:
        """The ranking's, and what this model cannot do of what the request asks for."""
        warnings = ranking.warnings
        if request.instruction and self.instruction is False:
            warnings = (*warnings, INSTRUCTION_IGNORED)
        if request.return_spans and ranking.spans is None and SPANS_UNAVAILABLE.code not in {w.code for w in warnings}:
            warnings = (*warnings, SPANS_UNAVAILABLE)
        return warnings

    def static_space(self, of_backend: ScoreSpace = "unknown") -> ScoreSpace:
        """What the scores of a request without wishes are: as the operator says, else the backend, else the adapter."""
        if self.corrected != "unknown":
            return self.corrected
        return self.declared if of_backend == "unknown" else of_backend

    def score_space(self, ranking: Ranking, request: RerankRequest) -> ScoreSpace:
        """What the scores of this answer are."""
        space = self.corrected
        if space == "unknown":
            space = self.declared if ranking.score_space == "unknown" else ranking.score_space
        if request.extra and space in UNIT_SPACES and self._asks_for_logits(request):
            return "logit"
        return space

    def _asks_for_logits(self, request: RerankRequest) -> bool:
        return any(request.extra.get(name) is value for name, value in self.logits_by.items())


NO_FACTS = TargetFacts()
