"""What an embedding model knows of a text when it has computed it. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Ids = Sequence[int] | NDArray[np.int32]

ENTRY_BYTES = 500
"""About what an entry of the cache takes beside the numbers of its arrays; tracemalloc says 430."""


class EmbeddedText(Struct, eq=False):
    """A document or a query on its way through an embedding model, and afterwards in the cache.

    Attributes:
        key: equal for texts that the model cannot tell apart.
        ids: token ids as far as the model reads them; empty where nobody needs them.
        truncated: whether it is not read whole.
        tokens: that the model is fed for it, each distinct window once.
        read: tokens of the text itself that are read.
        vectors: one for each window, of shape (windows, dimensions); None until they are computed.
    """

    key: bytes
    ids: NDArray[np.int32]
    truncated: bool
    tokens: int
    read: int = 0
    vectors: NDArray[Any] | None = None

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return ENTRY_BYTES + self.ids.nbytes + (0 if self.vectors is None else self.vectors.nbytes)


def as_array(ids: Ids) -> NDArray[np.int32]:
    """Token ids in four bytes each."""
    return ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int32, len(ids))
