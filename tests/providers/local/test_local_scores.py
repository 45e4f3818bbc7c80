"""The engine's scores are those of sentence-transformers, in float32 to 1e-5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import DOCUMENTS, QUERY, bert, embedder, engine, modernbert, qwen, request, scores, xlm_roberta
from sentence_transformers import CrossEncoder, SentenceTransformer

Build = Callable[..., Path]


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        pytest.param(bert, {}, id="BERT"),
        pytest.param(xlm_roberta, {}, id="XLM-RoBERTa"),
        pytest.param(modernbert, {}, id="ModernBERT"),
        pytest.param(qwen, {}, id="Qwen3, causal, chat template"),
        pytest.param(qwen, {"kind": "Qwen3ForSequenceClassification", "num_labels": 1}, id="Qwen3, classifier, template"),
        pytest.param(
            qwen, {"kind": "Qwen3ForSequenceClassification", "num_labels": 1, "template": None}, id="Qwen3, classifier"
        ),
    ],
)
async def test_cross_encoders_score_as_sentence_transformers_does(build: Build, maker: Any, options: Any) -> None:
    folder = build(maker, **options)
    expected = CrossEncoder(str(folder), device="cpu").predict([(QUERY, document) for document in DOCUMENTS])
    async with engine(folder) as backend:
        ranking = await backend.rerank(request())
    assert max(expected) - min(expected) > 1e-3
    assert scores(ranking) == pytest.approx(list(expected), abs=1e-5)
