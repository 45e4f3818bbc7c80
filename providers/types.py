"""The canonical request and ranking: what every adapter, policy and dialect speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from providers.attempts import AttemptCounter, Recorder, RunningAttempt


class ContentParts(Struct, frozen=True):
    """A multimodal query or document: a list of content parts, as vLLM's score API defines them.

    Source: https://docs.vllm.ai/en/latest/models/pooling_models.html (2026-11)
    """

    content: list[Any]


TextOrParts = str | ContentParts
"""A query or a document: text as it is ranked, or content parts for models that are declared `multimodal`."""

ScoreSpace = Literal["probability", "calibrated", "logit", "cosine", "unknown"]
"""What a score is. probability: from 0 to 1, comparable within one query; calibrated: from 0 to 1, and comparable from
query to query; logit: any real number, of which a sigmoid makes a probability; cosine: from -1 to 1."""

ScoreScale = Literal["provider", "probability"]
"""Which scores a caller wants: as the model gives them, or as probabilities."""


class Call(Struct, frozen=True, eq=False):
    """What all attempts of one logical request share. Immutable: a policy that changes something makes a copy.

    Attributes:
        id: the `x-request-id`, taken from the caller or made.
        deadline: when the whole call must be over, in seconds of `time.monotonic()`; None is no limit.
        headers: headers that travel to every upstream (`x-request-id`, trace context).
        recorder: receives every attempt and every wait. The default keeps nothing.
        body_bytes: length of what the request was decoded from, which its texts do not exceed by much; 0 if unknown.
        bypass_cooldowns: call a target though its breaker is open or its keys cool down: no other is left.
        attempts: counts the attempts of the request; None where nothing limits them.
        caller: the name of the caller's key; "" where callers need none. No target is told.
        ignored: fields of the caller's body that nothing reads, as the caller wrote them, cut.
    """

    id: str
    deadline: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    recorder: Recorder = Recorder()
    body_bytes: int = 0
    bypass_cooldowns: bool = False
    attempts: AttemptCounter | None = None
    ignored: tuple[str, ...] = ()
    caller: str = ""

    async def take_attempt(self) -> bool:
        """Count one more attempt. False if it must not be made."""
        return self.attempts is None or await self.attempts.take()


class RerankRequest(Struct, frozen=True, kw_only=True, eq=False):
    """One query and the documents to rank by it.

    Attributes:
        model: the name the target knows the model by (an adapter never sees an alias).
        query: never blank. Of a score request the first of `queries`.
        documents: at least one, none blank, in the caller's order.
        top_n: how many results the caller wants, at least 1; None is all.
        max_tokens_per_doc: cut each document after so many tokens.
        priority: 0 to 999, lower is served earlier.
        return_documents: the caller wants its documents back. The gateway echoes them itself; no upstream need do it.
        instruction: what the documents are to be ranked for, in words to the model; None, or "" where the caller wants
            none though one is configured.
        return_spans: the caller wants to see which passage of each document decided.
        first_stage_scores: what the search that found the documents gave them, one for each document, None for one
            without; None where no document has one. No upstream is told.
        scores: which scores the caller wants; None is as the model gives them. The gateway converts them, no upstream.
        min_score: results below it are left out, by the gateway, after `scores`; None keeps all.
        queries: given for a score request only: one query for all documents, or one for each document (pairwise). Every
            document is then to be scored.
        extra: fields outside this contract, of which a target takes only those that its adapter declares.
        call: what all attempts share.
        attempt: the attempt in progress; None until a target is called.
    """

    model: str
    query: TextOrParts
    documents: list[TextOrParts]
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None
    return_documents: bool = False
    return_spans: bool = False
    instruction: str | None = None
    first_stage_scores: list[float | None] | None = None
    scores: ScoreScale | None = None
    min_score: float | None = None
    queries: list[TextOrParts] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    call: Call = field(default_factory=lambda: Call(id=""))
    attempt: RunningAttempt | None = None


class Ranked(Struct, frozen=True, eq=True, gc=False):
    """One result: the document's position in the request and its score (higher is more relevant, any real number)."""

    index: int
    relevance_score: float


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the target counted. Unknown stays None: it is never invented.

    Attributes:
        prompt_tokens, completion_tokens, total_tokens: tokens.
        search_units: Cohere's billing unit, or another vendor's that is counted alike.
        billed_tokens: the tokens that are charged for, where the target tells them apart from those it processed.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    search_units: float | None = None
    billed_tokens: int | None = None

    @property
    def charged_tokens(self) -> int | None:
        """The tokens that cost, budgets and telemetry go by: those billed, else all, else those of the prompt."""
        if self.billed_tokens is not None:
            return self.billed_tokens
        return self.prompt_tokens if self.total_tokens is None else self.total_tokens

    @property
    def input_tokens(self) -> int | None:
        """The tokens of the input as telemetry tells them: those billed, where that is known, as the GenAI conventions
        demand; a reranker is billed by its input."""
        return self.prompt_tokens if self.billed_tokens is None else self.billed_tokens


MAX_ANSWER_SPANS = 20_000
"""Spans of one answer, those of its first results first: two for each of ten thousand documents. An answer of some
megabytes can tell a million, and all of them would be verified, converted, written and freed at once."""


class Span(Struct, frozen=True, omit_defaults=True):
    """A passage of a document: its first character, and one past its last, counted in Unicode code points.

    Attributes:
        score: how much it speaks for the document, by whoever found it; None if that is not told.
    """

    start: int
    end: int
    score: float | None = None


class AnswerWarning(Struct, frozen=True):
    """What an answer does not hold of what was asked for.

    Attributes:
        code: stable, for programs.
        message: one sentence, for people. It holds no text of the caller's.
    """

    code: str
    message: str


INSTRUCTION_IGNORED = AnswerWarning(
    "instruction_ignored", "the model that answered takes no instruction: it ranked by the query alone"
)


SPANS_UNAVAILABLE = AnswerWarning("spans_unavailable", "the model that answered does not tell which passages decided")


class Ranking(Struct, frozen=True, kw_only=True):
    """A target's answer.

    Attributes:
        results: in whatever order and number the target gave; the gateway verifies, sorts and cuts.
        usage: None if the target gave no counts.
        id: the target's own id of the answer.
        provider, model, cost: who served, and for how many US dollars (None: unknown), filled in by the gateway.
        alias: the configuration's name that led to this model; "" if none did. Filled in by the gateway.
        details: figures about how the answer was made (`queue_ms`, `truncated_documents`, …), shown in `extra_fields`.
        score_space: what the scores are, where the target itself says so; the gateway fills in what is declared.
        warnings: what was asked for and is not in this answer.
        spans: the passages that decided, by the document's position; None if the target tells none, and left out for a
            document in which it found none.
    """

    results: list[Ranked]
    usage: Usage | None = None
    id: str | None = None
    provider: str = ""
    model: str = ""
    cost: float | None = None
    details: dict[str, Any] | None = None
    alias: str = ""
    score_space: ScoreSpace = "unknown"
    warnings: tuple[AnswerWarning, ...] = ()
    spans: Mapping[int, Sequence[Span]] | None = None

    @property
    def shown_model(self) -> str:
        """The model as answers name it: as the configuration does, else as the provider does."""
        return self.alias or self.model


class EngineStats(Struct, frozen=True, kw_only=True):
    """What a backend inside the gateway has to do, and has done since its start.

    Attributes:
        queued_tokens: tokens that wait.
        batches, texts: forward passes, and the texts in them.
        tokens, padding: tokens in those batches, and what they were filled up with.
        window: how many tokens the model reads at once.
        tokens_per_second: of late, while it computes; 0 before the first batch.
        busy_seconds: for so long it has computed, a batch that runs now included.
        vector_hits, vector_misses: texts that were looked up in the cache of vectors, and found or not.
        vector_bytes: memory of that cache.
    """

    queued_tokens: int
    batches: int
    texts: int
    tokens: int
    padding: int
    window: int
    tokens_per_second: float = 0.0
    busy_seconds: float = 0.0
    vector_hits: int = 0
    vector_misses: int = 0
    vector_bytes: int = 0


class Backend(Protocol):
    """A live object that can rerank: an upstream, the local engine, or a policy wrapped around another backend."""

    async def rerank(self, request: RerankRequest) -> Ranking:
        """Rank the request's documents. Raises RerankError, and nothing else but cancellation."""
        ...

    async def ready(self) -> bool:
        """Whether a request may be sent now. Cheap, and never raises."""
        ...


class Resource(Protocol):
    """What must be closed: a client with its connections, a model with its threads."""

    async def aclose(self) -> None:
        """Release everything. Whoever opened it calls this, once."""
        ...


class ClosableBackend(Backend, Resource, Protocol):
    """A backend that holds resources of its own, such as a loaded model."""
