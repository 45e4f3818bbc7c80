"""What the batches of one model came to since it was loaded."""

from __future__ import annotations

from msgspec import Struct

_NEWEST_SHARE = 0.1
"""The weight of the newest batch in the moving average of the speed."""


class BatchStats(Struct):
    """Totals over all finished batches. Written by the engine's thread alone; any thread may read.

    Attributes:
        batches: forward passes.
        texts: inputs in them.
        tokens: tokens of those inputs, special tokens included, padding not.
        padding: tokens that were added to bring every input to its batch's width.
        tokens_per_second: an exponentially weighted moving average; 0 before the first batch.
    """

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    padding: int = 0
    tokens_per_second: float = 0.0

    def record(self, sizes: list[int], width: int, seconds: float) -> None:
        """Add a batch of inputs of these sizes, each padded to `width` tokens, that took so many seconds."""
        tokens = sum(sizes)
        self.batches += 1
        self.texts += len(sizes)
        self.tokens += tokens
        self.padding += len(sizes) * width - tokens
        # A clock too coarse for a tiny batch must not make the speed infinite.
        speed = tokens / max(seconds, 1e-6)
        average = self.tokens_per_second
        self.tokens_per_second = (1 - _NEWEST_SHARE) * average + _NEWEST_SHARE * speed if average else speed
