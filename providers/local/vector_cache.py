"""The vectors that an embedding model has computed, by text: the longest unused leave first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from providers.local.embedded_text import EmbeddedText

KEY_BYTES = 16


class VectorCache:
    """The cache of one loaded model. Safe for threads.

    Args:
        max_bytes: of all entries together, about; 0 keeps nothing.

    Attributes:
        bytes: of all entries.
        hits, misses: texts that were looked up and found, or not.
    """

    def __init__(self, max_bytes: int) -> None:
        self.bytes = self.hits = self.misses = 0
        self.max_bytes = max_bytes
        self._entries: OrderedDict[bytes, EmbeddedText] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, keys: Sequence[bytes]) -> list[EmbeddedText | None]:
        """What is known of each text, which then is the last to leave."""
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for text in found:
                if text is not None:
                    self._entries.move_to_end(text.key)
            hits = sum(text is not None for text in found)
            self.hits, self.misses = self.hits + hits, self.misses + len(found) - hits
            return found

    def keep(self, texts: Iterable[EmbeddedText]) -> None:
        """Add texts whose vectors are computed, except those larger than the whole cache."""
        with self._lock:
            for text in texts:
                if text.size <= self.max_bytes:
                    self._remove(text.key)
                    self._entries[text.key] = text
                    self.bytes += text.size
            while self.bytes > self.max_bytes:
                self._remove(next(iter(self._entries)))

    def _remove(self, key: bytes) -> None:
        text = self._entries.pop(key, None)
        if text is not None:
            self.bytes -= text.size


def text_keys(texts: Iterable[str], kind: str, max_tokens: int | None, instruction: str | None) -> list[bytes]:
    """A key for each text, as a query or a document, read as far as `max_tokens` and with this instruction.

    Nobody can tell the text from its key.
    """
    # The text comes last, after what ends by itself, so that nothing else is written alike.
    prefix = blake2b(repr((kind, max_tokens, instruction)).encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES)
    keys = []
    for text in texts:
        key = prefix.copy()
        key.update(text.encode("utf-8", "surrogatepass"))
        keys.append(key.digest())
    return keys
