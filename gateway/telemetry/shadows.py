"""What became of a call of a candidate beside a model, as metrics count it."""

from __future__ import annotations

from msgspec import Struct


class Agreement(Struct, frozen=True):
    """How far two rankings of one request agree.

    Attributes:
        overlap: share of the first ten results that both have, from 0 to 1.
        discordance: share of the pairs of documents that the two order differently, from 0 to 1; Kendall's tau is
            1 - 2 * discordance. None where they have fewer than two documents in common.
        has_same_top: whether the first result is the same.
    """

    overlap: float
    discordance: float | None
    has_same_top: bool


class ShadowOutcome(Struct, frozen=True):
    """What became of one shadow call.

    Attributes:
        model: the name whose requests are compared.
        candidate: the `provider/model`.
        outcome: ok, error or dropped.
        error_type: code of the error.
        seconds: how long the candidate took; 0 for a call that was dropped.
        cost: US dollars; None if unknown.
        agreement: with the answer that the caller got; None unless the candidate ranked.
    """

    model: str
    candidate: str
    outcome: str
    error_type: str = ""
    seconds: float = 0.0
    cost: float | None = None
    agreement: Agreement | None = None
