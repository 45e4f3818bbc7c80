"""The first stage: BM25 over a corpus, when the user brings no run.

Words are lower-case, without English stop words, and stemmed (Snowball, English); k1 = 1.5 and b = 0.75, the defaults
of bm25s. Texts in other languages need a run of their own search engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bm25s
import Stemmer

DESCRIPTION = "BM25 (bm25s, k1 1.5, b 0.75, English stop words and stems)"


class Bm25:
    """An index of texts.

    Args:
        texts: by id.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._ids = list(texts)
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25(k1=1.5, b=0.75)
        tokens = self._tokens(list(texts.values()))
        self._has_words = any(tokens)
        if self._has_words:
            self._index.index(tokens, show_progress=False)

    def best(self, queries: Sequence[str], depth: int) -> list[list[str]]:
        """The ids of the best documents for each query, best first; those that share no word with it are left out."""
        if not queries or not self._has_words:
            return [[] for _ in queries]
        count = min(depth, len(self._ids))
        found, scores = self._index.retrieve(self._tokens(queries), k=count, show_progress=False)
        return [
            [self._ids[place] for score, place in sorted(zip(-row_scores, row, strict=True)) if score < 0]
            for row, row_scores in zip(found, scores, strict=True)
        ]

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        tokens: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return tokens
