"""An embedding model: from token ids to vectors, and from vectors to scores."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router

from providers.errors import NotReady, Unsupported
from providers.local.embedded_text import EmbeddedText, as_array
from providers.local.engine import TextRequest
from providers.local.lexical import COSINE_UNIT, in_mid_text, lexical_term
from providers.local.model import LoadedModel
from providers.local.reading import Reading
from providers.local.tokens import (
    PROBE,
    EncodedRequest,
    Frame,
    TokenizedTexts,
    cut_to_read,
    distinct_tokens,
    encode,
)
from providers.local.vector_cache import VectorCache, text_keys
from providers.spec import LocalModel
from providers.types import ScoreSpace

VECTOR_CACHE_BYTES = 64 * 1024 * 1024
"""The default: vectors of some 20,000 documents of a small model."""

NO_TEXTS = TokenizedTexts(Frame([], [], [], []), [])


class EmbeddingModel(LoadedModel):
    """An embedding model: query and documents are embedded apart, and compared by the cosine of their vectors."""

    output = "sentence_embedding"

    def __init__(self, net: SentenceTransformer, settings: LocalModel) -> None:
        super().__init__(net, settings)
        if settings.activation != "default" or settings.label is not None:
            raise NotReady("the model is an embedding model, scored by cosine: leave `activation` and `label` out")
        self.lexical = lexical_term(self.tokenizer, settings, COSINE_UNIT)
        # With the lexical term a score is a cosine no more.
        self.score_space: ScoreSpace = "cosine" if self.lexical is None else "unknown"
        given = settings.vector_cache_bytes
        self.cache = VectorCache(VECTOR_CACHE_BYTES if given is None else given)
        tasks = ("query", "document") if any(isinstance(module, Router) for module in net) else (None, None)
        query_prompt, prompt = find_prompt(net, "query"), find_prompt(net, "document", "passage", "corpus")
        self.pipeline_options = [
            self._options_for(PROBE, query_prompt, tasks[0]),
            self._options_for(PROBE, prompt, tasks[1]),
        ]
        if not is_asymmetric(net):
            self.pipeline_options = self.pipeline_options[:1]
        self._tokenize_query = self._tokenizer_for(paired=False, prompt=query_prompt, task=tasks[0])
        # Where pooling leaves the prompt out, its length is fixed with the pipeline's options.
        self.takes_instruction = self._tokenize_query.takes_instruction and not is_asymmetric(net)
        self._tokenize_document = self._tokenizer_for(paired=False, prompt=prompt, task=tasks[1])

    def encode(self, request: TextRequest, check: Callable[[], None]) -> EncodedRequest:
        reading = self._reading(request, check)
        query_texts = self._tokenize_query("", [request.query], request.instruction, reading.query())
        query_texts = cut_to_read(query_texts, self.window, None, "truncate")
        # A query that was cut would be another query, so it is refused, before any document costs anything.
        if query_texts.cut:
            raise Unsupported(f"the query is longer than the {self.window} tokens that this model reads; shorten it")
        encoded = self._encode_documents(request, reading)
        if self.lexical is not None:
            query = self._tokenize_document("", [in_mid_text(request.query)], None, reading.query())
            ids = (document.ids for document in encoded.texts)
            encoded.add_lexical(self.lexical.weight, self.lexical.score(query.bodies[0], ids))
        self._encode_query(request, query_texts, encoded)
        return encoded

    def _encode_documents(self, request: TextRequest, reading: Reading) -> EncodedRequest:
        """All documents, and inputs for those whose vectors are not cached."""
        keys = text_keys(request.documents, "document", reading.limit, None)
        found = self.cache.find(keys)
        missing = [number for number, document in enumerate(found) if document is None]
        own = [request.documents[number] for number in missing]
        texts = self._tokenize_document("", own, None, reading) if own else NO_TEXTS
        texts = cut_to_read(texts, self.window, request.max_tokens_per_doc, self.long_documents)
        encoded = encode(texts, self.window, len(self.pipeline_options) - 1)
        inputs = [range(0)] * len(found)
        cached = {document.key: document.tokens for document in found if document is not None}
        for place, number in enumerate(missing):
            inputs[number] = own_inputs = encoded.document_inputs[place]
            tokens = distinct_tokens(encoded.inputs[own_inputs.start : own_inputs.stop])
            ids = as_array(texts.bodies[place] if self.lexical is not None else ())
            found[number] = EmbeddedText(keys[number], ids, place in texts.cut, tokens, len(texts.bodies[place]))
        encoded.document_inputs = inputs
        encoded.cached_tokens = sum(cached.values())
        encoded.texts = [document for document in found if document is not None]
        encoded.truncated = {n: document.read for n, document in enumerate(encoded.texts) if document.truncated}
        if self.cache.max_bytes:
            encoded.details["cached_documents"] = len(found) - len(missing)
        return encoded

    def _encode_query(self, request: TextRequest, texts: TokenizedTexts, encoded: EncodedRequest) -> None:
        """Add the query, and its input unless its vector is cached."""
        keys = text_keys([request.query], "query", None, request.instruction)
        inputs = encode(texts, self.window).inputs
        known = self.cache.find(keys)[0]
        if known is None:
            encoded.query_input = len(encoded.inputs)
            encoded.inputs.extend(inputs)
        else:
            encoded.cached_tokens += known.tokens
        encoded.texts.append(known or EmbeddedText(keys[0], as_array(()), False, distinct_tokens(inputs)))

    def scores(self, rows: list[Any], encoded: EncodedRequest) -> list[float]:
        *documents, query = self._vectors(rows, encoded)
        cosines = cosine(np.concatenate(documents), query[0])
        starts = [0, *accumulate(map(len, documents))][:-1]
        scores = np.maximum.reduceat(cosines, starts) + (encoded.lexical or 0.0)
        return [float(score) for score in scores]

    def _vectors(self, rows: list[Any], encoded: EncodedRequest) -> list[NDArray[Any]]:
        """Those of each text, cached or new. The new ones go into the cache."""
        new, vectors = [], []
        inputs = (*encoded.document_inputs, range(encoded.query_input, encoded.query_input + 1))
        for text, own in zip(encoded.texts, inputs, strict=True):
            if text.vectors is None:
                # A copy: the rows are views of whole batches, which the cache would keep.
                text.vectors = np.stack(rows[own.start : own.stop])
                new.append(text)
            vectors.append(text.vectors)
        self.cache.keep(new)
        return vectors


def cosine(vectors: NDArray[Any], query: NDArray[Any]) -> NDArray[np.float64]:
    """Of each vector, of shape (count, dimensions), and the query's. One of zeros has no direction: its cosine is 0."""
    rows, column = vectors.astype(np.float64), query.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(column)
    cosines: NDArray[np.float64] = (rows @ column) / np.maximum(lengths, 1e-24)
    return cosines


def find_prompt(net: SentenceTransformer, *names: str) -> str | None:
    """The prompt that sentence-transformers' `encode_query` or `encode_document` would put before a text."""
    name = next((name for name in names if name in net.prompts), net.default_prompt_name)
    return net.prompts.get(name or "") or None


def is_asymmetric(net: SentenceTransformer) -> bool:
    """Whether the pipeline treats queries unlike documents: by other layers, or by a prompt that pooling leaves out."""
    return any(isinstance(module, Router) or getattr(module, "include_prompt", True) is False for module in net)
