"""An embedding model: from token ids to vectors, and from vectors to scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router

from providers.errors import NotReady, Unsupported
from providers.local.engine import TextRequest
from providers.local.model import LoadedModel
from providers.local.tokens import PROBE, EncodedRequest, encode
from providers.spec import LocalModel


class EmbeddingModel(LoadedModel):
    """An embedding model: query and documents are embedded apart, and compared by the cosine of their vectors."""

    output = "sentence_embedding"

    def __init__(self, net: SentenceTransformer, settings: LocalModel) -> None:
        super().__init__(net, settings)
        if settings.activation != "default" or settings.label is not None:
            raise NotReady("the model is an embedding model, scored by cosine: leave `activation` and `label` out")
        tasks = ("query", "document") if any(isinstance(module, Router) for module in net) else (None, None)
        query_prompt, prompt = find_prompt(net, "query"), find_prompt(net, "document", "passage", "corpus")
        self.pipeline_options = [
            self._options_for(PROBE, query_prompt, tasks[0]),
            self._options_for(PROBE, prompt, tasks[1]),
        ]
        if not is_asymmetric(net):
            self.pipeline_options = self.pipeline_options[:1]
        self._tokenize_query = self._tokenizer_for(paired=False, prompt=query_prompt, task=tasks[0])
        self._tokenize_document = self._tokenizer_for(paired=False, prompt=prompt, task=tasks[1])

    def encode(self, request: TextRequest, check: Callable[[], None]) -> EncodedRequest:
        reading = self._reading(request, check)
        query_texts = self._tokenize_query("", [request.query], None, reading.query())
        query = encode(query_texts, self.window, None, "truncate")
        # A query that was cut would be another query, so it is refused, before any document costs anything.
        if query.truncated:
            raise Unsupported(f"the query is longer than the {self.window} tokens that this model reads; shorten it")
        texts = self._tokenize_document("", request.documents, request.instruction, reading)
        group = len(self.pipeline_options) - 1
        encoded = encode(texts, self.window, request.max_tokens_per_doc, self.long_documents, group)
        encoded.query_input = len(encoded.inputs)
        encoded.inputs.extend(query.inputs)
        return encoded

    def scores(self, rows: list[Any], encoded: EncodedRequest) -> list[float]:
        vectors = np.stack(rows).astype(np.float64)
        # A vector of zeros has no direction: its cosine is 0, and nothing is divided by 0.
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cosines = vectors @ vectors[encoded.query_input]
        return [float(cosines[own.start : own.stop].max()) for own in encoded.document_inputs]


def find_prompt(net: SentenceTransformer, *names: str) -> str | None:
    """The prompt that sentence-transformers' `encode_query` or `encode_document` would put before a text."""
    name = next((name for name in names if name in net.prompts), net.default_prompt_name)
    return net.prompts.get(name or "") or None


def is_asymmetric(net: SentenceTransformer) -> bool:
    """Whether the pipeline treats queries unlike documents: by other layers, or by a prompt that pooling leaves out."""
    return any(isinstance(module, Router) or getattr(module, "include_prompt", True) is False for module in net)
