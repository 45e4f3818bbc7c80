"""What a local model's files do not hold or do not say is refused by name. No model is served on a guess."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense
from tiny_models import (
    DOCUMENTS,
    QUERY,
    ROOMY,
    TEMPLATE,
    WINDOW,
    bert,
    embedder,
    engine,
    modernbert,
    qwen,
    qwen3_reranker,
    request,
    saved,
    scores,
    wordpiece,
    xlm_roberta,
)

from providers.errors import NotReady
from providers.local.loading import load, open_engine
from providers.local.templates import QWEN3
from providers.spec import LocalModel

Build = Callable[..., Path]
Weights = dict[str, torch.Tensor]
PAIRS = [(QUERY, document) for document in DOCUMENTS]
CLASSIFIER = {"kind": "Qwen3ForSequenceClassification", "num_labels": 1}
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHAT = "{% for m in messages if m.role in ['user', 'system'] %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"


def open_model(folder: Path, **settings: Any) -> Any:
    return load(LocalModel(**{"name": "m", "path": str(folder), "dtype": "float32", "device": "cpu"} | settings))


def change_weights(folder: Path, to: Path, change: Callable[[Weights], Weights]) -> Path:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    file = to / "model.safetensors"
    weights = load_file(file)
    file.unlink()
    save_file({name: weight.clone() for name, weight in change(weights).items()}, file, {"format": "pt"})
    return to


def change_config(folder: Path, to: Path, **changes: Any) -> Path:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    config = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return to


def without(*parts: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: kept for name, kept in weights.items() if not any(part in name for part in parts)}


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: weight for name, weight in weights.items()}


def added(*names: str) -> Callable[[Weights], Weights]:
    return lambda weights: weights | {name: torch.zeros(2) for name in names}


@pytest.mark.parametrize(
    ("maker", "options", "change", "named"),
    [
        pytest.param(bert, {}, without("classifier."), ["lacks classifier.bias", "classifier.weight"], id="classifier"),
        pytest.param(bert, {}, without("classifier.bias"), ["lacks classifier.bias"], id="one bias"),
        pytest.param(bert, {}, without("layer.1."), ["bert.encoder.layer.1.", "and 11 more"], id="layer"),
        pytest.param(bert, {}, without("word_embeddings"), ["lacks bert.embeddings.word_embeddings"], id="embeddings"),
        pytest.param(bert, {}, without("pooler"), ["lacks bert.pooler.dense"], id="pooler that the classifier reads"),
        pytest.param(bert, {}, prefixed("net."), ["lacks bert.", "holds net.bert"], id="prefix before all"),
        pytest.param(bert, {}, added("cls.predictions.bias"), ["holds cls.predictions.bias"], id="unexpected"),
        pytest.param(xlm_roberta, {}, without("out_proj"), ["lacks classifier.out_proj"], id="XLM-R's projection"),
        pytest.param(xlm_roberta, {}, prefixed("module."), ["holds module.classifier"], id="XLM-R, prefix"),
        pytest.param(modernbert, {}, without("head."), ["lacks head."], id="ModernBERT's head"),
        pytest.param(modernbert, {}, without("layers.0."), ["lacks model.layers.0."], id="ModernBERT's layer"),
        pytest.param(qwen, {}, without("model.norm"), ["lacks model.norm.weight"], id="causal, norm"),
        pytest.param(qwen, {}, prefixed("base."), ["lacks lm_head.weight", "holds base.model"], id="causal, prefix"),
        pytest.param(qwen, CLASSIFIER, without("score."), ["lacks score.weight"], id="causal classifier, score"),
        pytest.param(embedder, {}, without("layer.0."), ["lacks encoder.layer.0."], id="embedding model, layer"),
        pytest.param(embedder, {}, prefixed("x."), ["holds x.embeddings"], id="embedding model, prefix"),
        pytest.param(embedder, {}, added("classifier.weight"), ["holds classifier.weight"], id="embedding, unexpected"),
    ],
)
def test_weights_that_are_missing_or_unknown_are_named(
    build: Build, tmp_path: Path, maker: Any, options: Any, change: Any, named: list[str]
) -> None:
    folder = change_weights(build(maker, **options), tmp_path / "model", change)
    with pytest.raises(NotReady, match="random weights") as raised:
        open_model(folder)
    assert [name for name in named if name not in raised.value.message] == []


@pytest.mark.parametrize(
    ("maker", "change"),
    [
        pytest.param(bert, added("bert.embeddings.position_ids"), id="a buffer of old files"),
        pytest.param(embedder, added("embeddings.position_ids"), id="the same of an embedding model"),
        pytest.param(embedder, without("pooler."), id="pooler beside the pooling"),
        pytest.param(qwen, without("lm_head"), id="head that is tied to the embeddings"),
        pytest.param(bert, lambda weights: weights, id="all there"),
    ],
)
def test_weights_that_the_model_does_not_need_may_be_left_out(
    build: Build, tmp_path: Path, maker: Any, change: Any
) -> None:
    assert open_model(change_weights(build(maker), tmp_path / "model", change)).window > 0


def test_a_layer_of_sentence_transformers_without_weights_is_refused(build: Build, tmp_path: Path) -> None:
    net = SentenceTransformer(str(build(embedder)), device="cpu")
    net.append(Dense(32, 8))
    net.save_pretrained(str(tmp_path))
    next(tmp_path.glob("*_Dense/model.safetensors")).unlink()
    with pytest.raises(NotReady, match="could not be loaded"):
        open_engine(LocalModel(name="m", path=str(tmp_path), device="cpu"))


def test_a_model_is_loaded_by_the_libraries_own_function_afterwards(build: Build) -> None:
    from transformers import BertForSequenceClassification, PreTrainedModel

    original = PreTrainedModel.__dict__["from_pretrained"]
    open_model(build(bert))
    assert PreTrainedModel.__dict__["from_pretrained"] is original
    assert isinstance(BertForSequenceClassification.from_pretrained(build(bert)), BertForSequenceClassification)


def without_tokens(folder: Path, to: Path, *names: str) -> Path:
    """A copy whose tokenizer and model have no such special tokens."""
    change_config(folder, to, **{f"{name}_id": None for name in names})
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (to / file).is_file():
            saved_names = json.loads((to / file).read_text())
            (to / file).write_text(json.dumps({key: name for key, name in saved_names.items() if key not in names}))
    return to


@pytest.mark.parametrize(
    ("options", "dropped", "settings", "pad"),
    [
        pytest.param({}, [], {}, "<|endoftext|>", id="its own"),
        pytest.param({}, ["pad_token"], {}, "<|im_end|>", id="causal: end of text"),
        pytest.param(CLASSIFIER, ["pad_token"], {}, "<|im_end|>", id="classifier: end of text"),
        pytest.param({**CLASSIFIER, "template": None}, ["pad_token"], {}, "<|im_end|>", id="plain classifier"),
        pytest.param({}, ["pad_token", "eos_token"], {"pad_token": "<|endoftext|>"}, "<|endoftext|>", id="configured"),
        pytest.param(
            CLASSIFIER,
            ["pad_token", "eos_token"],
            {"pad_token": "<|endoftext|>"},
            "<|endoftext|>",
            id="configured for a classifier",
        ),
    ],
)
async def test_texts_of_different_length_share_a_batch(
    build: Build, tmp_path: Path, options: Any, dropped: list[str], settings: Any, pad: str
) -> None:
    folder = without_tokens(build(qwen, **options), tmp_path / "model", *dropped)
    documents = ["wing", *DOCUMENTS[:4]]
    async with engine(folder, **settings) as backend:
        together = scores(await backend.rerank(request(documents=documents)))
        alone = [scores(await backend.rerank(request(documents=[document])))[0] for document in documents]
    assert together == pytest.approx(alone, abs=1e-5)
    net = open_model(folder, **settings).net
    vocabulary = CrossEncoder(str(folder), device="cpu").tokenizer.get_vocab()
    assert net.tokenizer.pad_token_id == net.model.config.pad_token_id == vocabulary[pad]


async def test_the_tokenizers_pad_token_counts_where_the_model_names_another(build: Build, tmp_path: Path) -> None:
    """The model would take the padding for the last word."""
    folder = change_config(build(qwen, **CLASSIFIER, template=None), tmp_path / "model", pad_token_id=1)
    async with engine(folder) as backend:
        together = scores(await backend.rerank(request(documents=["wing", DOCUMENTS[3]])))
        alone = scores(await backend.rerank(request(documents=["wing"])))
    assert together[0] == pytest.approx(alone[0], abs=1e-5)


@pytest.mark.parametrize(
    ("dropped", "settings", "sentence"),
    [
        pytest.param(["pad_token", "eos_token"], {}, "neither a pad token nor an end of text", id="none"),
        pytest.param([], {"pad_token": "<nothing>"}, 'no token "<nothing>"', id="unknown"),
        pytest.param([], {"pad_token": "<beyond>"}, 'no embedding for "<beyond>"', id="beyond the embeddings"),
    ],
)
def test_a_model_that_nothing_pads_is_refused(
    build: Build, tmp_path: Path, dropped: list[str], settings: Any, sentence: str
) -> None:
    folder = without_tokens(build(qwen), tmp_path / "model", *dropped)
    if settings.get("pad_token") == "<beyond>":
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["added_tokens"].append(tokenizer["added_tokens"][0] | {"id": 5_000, "content": "<beyond>"})
        tokenizer["model"]["vocab"]["<beyond>"] = 5_000
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(NotReady, match=sentence):
        open_model(folder, **settings)


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        pytest.param(qwen, {"template": None}, id="no template"),
        pytest.param(qwen, {"template": CHAT}, id="chat model"),
        pytest.param(qwen, {"template": CHATML}, id="chat model for any role"),
        pytest.param(qwen, {"template": "{{ documents }} {{ query }}"}, id="template for retrieval"),
        pytest.param(qwen, {"template": CHAT, "kind": "Qwen2ForCausalLM"}, id="Qwen2"),
        pytest.param(qwen, {"template": CHATML, "kind": "LlamaForCausalLM"}, id="Llama"),
        pytest.param(qwen, {"template": CHAT, **CLASSIFIER, "num_labels": 2}, id="classifier of chats"),
        pytest.param(
            qwen3_reranker, {"template": None, "kind": "Qwen2ForCausalLM"}, id="named so, but of another family"
        ),
    ],
)
def test_a_model_without_a_prompt_for_query_and_document_is_refused(build: Build, maker: Any, options: Any) -> None:
    with pytest.raises(NotReady, match="no prompt that holds a query and a document"):
        open_model(build(maker, **options))


def described(folder: Path, card: str) -> Path:
    qwen(folder, template=CHAT, size=8 * WINDOW)
    (folder / "README.md").write_text(card)
    return folder


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        pytest.param(qwen3_reranker, {"template": None}, id="by its folder"),
        pytest.param(qwen3_reranker, {"template": CHAT}, id="by its folder, with a chat model's template"),
        pytest.param(described, {"card": "---\nlicense: apache-2.0\n---\n# Qwen3-Reranker-0.6B\n"}, id="by its card"),
        pytest.param(qwen, {"template": None, "is_original_qwen3_reranker": True}, id="by its settings"),
        pytest.param(qwen3_reranker, {**CLASSIFIER, "template": None}, id="conversion by its folder"),
        pytest.param(qwen, {**CLASSIFIER, "template": CHAT}, id="conversion with a chat model's template"),
        pytest.param(qwen, {**CLASSIFIER, "template": CHATML}, id="conversion with a template for any role"),
    ],
)
async def test_qwen3_reranker_and_its_conversion_get_the_prompt_of_its_card(
    build: Build, maker: Any, options: Any
) -> None:
    folder = build(maker, **options, **({} if "card" in options else {"size": 8 * WINDOW}))
    directory = folder if (folder / "config.json").is_file() else next(folder.iterdir())
    reference = CrossEncoder(str(directory), device="cpu", processor_kwargs={"chat_template": QWEN3})
    async with engine(directory) as backend:
        ranking = await backend.rerank(request(documents=DOCUMENTS[:6]))
    assert scores(ranking) == pytest.approx(list(reference.predict(PAIRS[:6])), abs=1e-5)


@pytest.mark.parametrize("known", [[], ["yes"], ["no"]], ids=["neither", "yes alone", "no alone"])
def test_answers_that_the_tokenizer_lacks_are_named(tmp_path: Path, known: list[str]) -> None:
    tokenizer = wordpiece()
    tokenizer.add_tokens(known)
    tokenizer.chat_template = TEMPLATE
    heads = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    folder = saved(tmp_path, "Qwen3ForCausalLM", tokenizer, **ROOMY, **heads)
    with pytest.raises(NotReady, match='no tokens "yes" and "no"'):
        open_model(folder)


def test_a_cross_encoder_saved_with_its_template_was_trained_so(build: Build, tmp_path: Path) -> None:
    net = CrossEncoder(str(build(qwen, template=CHATML)), device="cpu")
    net.save_pretrained(str(tmp_path))
    assert open_model(tmp_path).window > 0


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        pytest.param("BertForTokenClassification", {}, id="token classifier"),
        pytest.param("BertForMaskedLM", {}, id="masked words"),
        pytest.param("BertForQuestionAnswering", {}, id="answers"),
        pytest.param("BertLMHeadModel", {"is_decoder": True}, id="decoder"),
        pytest.param("T5ForConditionalGeneration", {"d_model": 32, "num_layers": 1, "d_kv": 8, "d_ff": 32}, id="T5"),
        pytest.param("T5EncoderModel", {"d_model": 32, "num_layers": 1, "d_kv": 8, "d_ff": 32}, id="T5's encoder"),
        pytest.param("Qwen3Model", {"head_dim": 8, "num_key_value_heads": 2}, id="causal model without head"),
        pytest.param("JinaForRanking", None, id="JinaForRanking"),
        pytest.param("ColBERT", None, id="ColBERT"),
    ],
)
def test_an_unknown_architecture_is_named(build: Build, tmp_path: Path, kind: str, config: Any) -> None:
    if config is None:
        folder = change_config(build(bert), tmp_path / "model", architectures=[kind])
    else:
        folder = saved(
            tmp_path / "model", kind, wordpiece(), **{**(ROOMY if "d_model" not in config else {}), **config}
        )
    with pytest.raises(NotReady, match=f"the model is a {kind}; cross-encoders .* are served"):
        open_model(folder)


@pytest.mark.parametrize("architectures", [None, [], "BertForSequenceClassification", [None], {}], ids=str)
def test_a_cross_encoder_has_to_say_that_it_is_one(build: Build, tmp_path: Path, architectures: Any) -> None:
    folder = change_config(build(bert), tmp_path / "model", architectures=architectures)
    with pytest.raises(NotReady, match='names no class in "architectures"'):
        open_model(folder)


@pytest.mark.parametrize("kind", ["BertModel", "RobertaModel", "XLMRobertaModel", "ModernBertModel", "DistilBertModel"])
def test_a_plain_encoder_is_an_embedding_model(tmp_path: Path, kind: str) -> None:
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    shape = {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64} if kind == "DistilBertModel" else ROOMY
    loaded = open_model(saved(tmp_path, kind, wordpiece(), **shape, **special))
    assert isinstance(loaded.net, SentenceTransformer)


@pytest.mark.parametrize("maker", [bert, modernbert, qwen, embedder], ids=["BERT", "ModernBERT", "causal", "embedding"])
def test_numbers_that_are_not_finite_are_refused(build: Build, maker: Any) -> None:
    loaded = open_model(build(maker))
    with torch.no_grad():
        next(loaded.net.parameters()).fill_(float("nan"))
    with pytest.raises(NotReady, match="not finite"):
        loaded.warm_up(256)


def test_a_model_whose_numbers_depend_on_the_padding_is_refused(build: Build) -> None:
    loaded = open_model(build(qwen, **CLASSIFIER, template=None))
    loaded.net.model.config.pad_token_id = 1
    with pytest.raises(NotReady, match="depend on the longer text"):
        loaded.warm_up(256)
