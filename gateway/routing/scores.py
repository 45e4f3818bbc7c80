"""The score contract: one meaning of scores, whichever target served, and no cut by scores of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from gateway.config.calibrations import sigmoid
from gateway.config.root import Config
from gateway.policy.target_facts import UNIT_SPACES
from providers.types import AnswerWarning, Ranked, Ranking, RerankRequest, ScoreSpace, Span

_UNIT = (0.0, 1.0)
BOUNDS: Mapping[ScoreSpace, tuple[float, float]] = {**dict.fromkeys(UNIT_SPACES, _UNIT), "cosine": (-1.01, 1.01)}
"""Between which scores of a space lie; those of a cosine may be over by what half-precision numbers are rounded by."""

Spans = Mapping[int, Sequence[Span]] | None

NO_SCORES = AnswerWarning(
    "no_scores", "no model ranked: the documents are in the order sent, and their scores of 0.0 mean nothing"
)


class ScoreContract:
    """Gives callers the scores that they asked for, and tells them where it cannot.

    Scores are never rescaled by what else is in an answer: the same document gets the same score in any company.

    Args:
        config: with the calibrations.
        space_of: what the scores of a `provider/model` are, as far as it is known without asking it.
    """

    def __init__(self, config: Config, space_of: Callable[[str], ScoreSpace]) -> None:
        self._calibrations = config.calibrations
        self._space_of = space_of
        self._fused = {name for name, model in config.models.items() if model.fuse}
        self._first_targets = {name: _first_target(config, name) for name in config.models}

    def fulfil(self, ranking: Ranking, request: RerankRequest) -> Ranking:
        """The ranking with its scores as asked for, without the results below `min_score`. The order stays.

        Args:
            ranking: of the target that served, sorted.
            request: its model is the name that the caller wrote.
        """
        if ranking.details and ranking.details.get("degraded"):
            return _warn(ranking, NO_SCORES)
        path, told = self._path(ranking), ranking.score_space
        ranking = _verify_space(ranking)
        if request.scores == "probability":
            ranking = self._to_probabilities(ranking, path)
            holds = ranking.score_space in UNIT_SPACES
        else:
            first = self._first_targets.get(request.model, request.model)
            holds = path == first and ranking.score_space == told
            if not holds:
                ranking, holds = _compare(ranking, self._declared(first))
        # A score request is answered for every pair.
        if request.min_score is None or request.queries is not None:
            return ranking
        return _cut(ranking, request.min_score) if holds else _warn(ranking, _not_cut(ranking))

    def promised(self, name: str) -> ScoreSpace:
        """What the scores of a name are, as far as it is known without asking it."""
        return self._declared(self._first_targets.get(name, name))

    def comparable(self, ranking: Ranking) -> Ranking:
        """The ranking with probabilities as its scores, where they can be had; else as it is."""
        converted = self._to_probabilities(_verify_space(ranking), self._path(ranking))
        return replace(converted, warnings=ranking.warnings)

    def _path(self, ranking: Ranking) -> str:
        """What served, by the name that the configuration knows it by."""
        return ranking.alias if ranking.alias in self._fused else f"{ranking.provider}/{ranking.model}"

    def _declared(self, path: str) -> ScoreSpace:
        return "unknown" if path in self._fused else self._space_of(path)

    def _to_probabilities(self, ranking: Ranking, path: str) -> Ranking:
        calibration = self._calibrations.get(path)
        # It was fitted on the model's usual scores: not on logits that the caller has asked for.
        if calibration is not None and ranking.score_space == self._declared(path):
            return _convert(ranking, calibration.probability, "calibrated")
        if ranking.score_space == "logit":
            return _convert(ranking, sigmoid, "probability")
        if ranking.score_space in UNIT_SPACES:
            return ranking
        return _warn(ranking, _not_probabilities(ranking, path))


def _verify_space(ranking: Ranking) -> Ranking:
    """The ranking, of the space `unknown` where a score lies outside of what its space promises.

    It is done here, of the whole answer: parts of a list whose scores lie on both sides are still of one kind.
    """
    bounds = BOUNDS.get(ranking.score_space)
    if bounds is None or not ranking.results:
        return ranking
    highest, lowest = ranking.results[0].relevance_score, ranking.results[-1].relevance_score
    is_within = bounds[0] <= lowest and highest <= bounds[1]
    return ranking if is_within else replace(ranking, score_space="unknown")


def _first_target(config: Config, name: str) -> str:
    """The `provider/model` whose scores callers of that name get at first; of a fused model, its own name."""
    model = config.models.get(name)
    while model is not None and model.cascade:
        name = model.cascade[-1].model
        model = config.models.get(name)
    return name if model is not None and model.fuse else config.paths(name)[0]


def _convert(ranking: Ranking, probability: Callable[[float], float], space: ScoreSpace) -> Ranking:
    results = [Ranked(result.index, probability(result.relevance_score)) for result in ranking.results]
    return replace(ranking, results=results, score_space=space, spans=_convert_spans(ranking.spans, probability))


def _convert_spans(spans: Spans, probability: Callable[[float], float]) -> Spans:
    """A model that gives logits scores its passages by them too."""
    if spans is None:
        return None
    return {
        index: [span if span.score is None else replace(span, score=probability(span.score)) for span in own]
        for index, own in spans.items()
    }


def _compare(ranking: Ranking, promised: ScoreSpace) -> tuple[Ranking, bool]:
    """The ranking, marked if its scores are unlike what the first target is known for, and whether they are alike.

    It has no mark where nothing is known of the first one's scores.
    """
    space = ranking.score_space
    if promised == "unknown":
        return ranking, False
    if space == promised:
        return ranking, True
    known = "nothing is known of these scores" if space == "unknown" else f"these scores are of the kind {space}"
    message = (
        f"{known}, and this model's first target is known for the kind {promised}: a threshold for the one does not "
        "fit the other; `scores: probability` gives one kind where that is possible"
    )
    return _warn(ranking, AnswerWarning("score_space_differs", message)), False


def _cut(ranking: Ranking, least: float) -> Ranking:
    kept = [result for result in ranking.results if result.relevance_score >= least]
    return ranking if len(kept) == len(ranking.results) else replace(ranking, results=kept)


def _not_cut(ranking: Ranking) -> AnswerWarning:
    message = f"`min_score` was not applied: it was not meant for the scores of this answer ({ranking.score_space})"
    return AnswerWarning("min_score_not_applied", message)


def _not_probabilities(ranking: Ranking, path: str) -> AnswerWarning:
    message = (
        f"the scores are as the model gives them ({ranking.score_space}): nothing is known that makes probabilities of "
        f"them; declare their kind in `capabilities`, or set `calibrations.{path}` as `rerank-gateway eval` prints it"
    )
    return AnswerWarning("scores_not_converted", message)


def _warn(ranking: Ranking, warning: AnswerWarning) -> Ranking:
    return replace(ranking, warnings=(*ranking.warnings, warning))
