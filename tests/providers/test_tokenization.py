"""Tokens of a text: counted by real tokenizers of every kind, and never fewer than the bound says."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from providers import tokenization
from providers.tokenization import MAX_TOKENIZERS, FileTokenizer, TokenBound, open_counter, problem, tokenizer_file

TEXTS = [
    "the quick brown fox",
    "über allen Gipfeln ist Ruh",
    "速い茶色の狐",
    "😀👩‍👩‍👧 é e\u0301",
    "ﷺ İ ﬃ ½",
    "a  b\n\n\tc",
]
WORDS = [*TEXTS, "the fox", "tokenization of tokens", "brown bread"]


def byte_pairs() -> Tokenizer:
    """As GPT-2's, with so few merges that nearly each byte is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    return tokenizer


def word_pieces() -> Tokenizer:
    """As BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(WORDS, trainer)
    return tokenizer


def unigrams() -> Tokenizer:
    """As XLM-R's: NFKC, and a mark for the space before a text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(WORDS, trainer)
    return tokenizer


KINDS = {"byte pairs": byte_pairs, "word pieces": word_pieces, "unigrams": unigrams}


@pytest.fixture(scope="module", params=KINDS)
def file(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer = KINDS[request.param]()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(path))
    return path


WRITTEN = st.one_of(st.sampled_from(TEXTS), st.text(max_size=80), st.text("ab ü狐ﷺİ\u0301\u200d😀\ud800", max_size=40))


@settings(max_examples=150, deadline=None)
@given(text=WRITTEN, limit=st.integers(1, 60))
def test_neither_counter_is_ever_over_the_limit(file: Path, text: str, limit: int) -> None:
    exact, bound = open_counter(str(file)), open_counter(None)
    assert exact.count(text) <= bound.count(text)
    assert exact.count(text[: exact.prefix(text, limit)]) <= limit
    assert bound.count(text[: bound.prefix(text, limit)]) <= max(2, limit)
    if limit > 1:
        assert exact.count(text[: bound.prefix(text, limit)]) <= limit


def test_a_prefix_is_as_long_as_it_can_be(file: Path) -> None:
    counter = FileTokenizer(str(file))
    text = "the quick brown fox " * 50
    size = counter.prefix(text, 40)
    assert counter.count(text[:size]) <= 40
    assert counter.count(text[: size + 12]) > 40
    assert counter.prefix(text, 10_000) == len(text)
    assert counter.count(text) > 40, "truncation of the file is switched off"


def test_other_threads_run_while_it_counts(file: Path) -> None:
    """Of the two ways to encode, only that of batches lets go of the interpreter."""

    class Batches:
        def encode_batch(self, texts: list[str], add_special_tokens: bool) -> Any:
            return Tokenizer.from_file(str(file)).encode_batch(texts, add_special_tokens=add_special_tokens)

    counter = FileTokenizer(str(file))
    counter._tokenizer = Batches()
    assert counter.count("the fox") > 0
    assert counter.prefix("the fox " * 9, 3) > 0


def test_a_folder_will_do_and_it_is_loaded_when_needed(file: Path) -> None:
    counter = open_counter(str(file.parent))
    assert open_counter(str(file.parent)) is counter
    assert counter.count("the fox") > 0
    assert counter.is_ready


def test_one_that_cannot_be_loaded_is_told_once_and_estimated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    counter = FileTokenizer(str(tmp_path))
    with caplog.at_level(logging.ERROR):
        assert [counter.count("abc"), counter.prefix("abcdef", 4)] == [4, 3]
    assert len(caplog.records) == 1
    assert TokenBound().count("abc") == 4


def test_a_file_that_was_mended_or_replaced_is_read_anew(file: Path, tmp_path: Path) -> None:
    """A reload opens the counters again. The tokenizer must not stay what it was until a restart."""
    place = tmp_path / "tokenizer.json"
    place.write_text("{}")
    broken = open_counter(str(place))
    assert broken.count("the fox") == TokenBound().count("the fox")
    place.write_bytes(file.read_bytes())
    mended = open_counter(str(place))
    assert mended.count("the fox") == FileTokenizer(str(file)).count("the fox")
    assert open_counter(str(place)) is mended
    place.write_bytes(file.read_bytes() + b"\n")
    assert open_counter(str(place)) is not mended


def test_what_failed_without_a_file_is_tried_again(tmp_path: Path) -> None:
    """As a name of the Hub that could not be reached."""
    name = str(tmp_path / "no")
    failed = open_counter(name)
    assert failed.count("a") == 2
    assert open_counter(name) is not failed


def test_a_hub_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All threads that read long texts would wait for it: those of other models too."""
    never = threading.Event()
    monkeypatch.setattr(tokenization, "_open", lambda path: never.wait())
    monkeypatch.setattr(tokenization, "LOAD_SECONDS", 0.01)
    counter = FileTokenizer("some/model")
    assert counter.count("abc") == TokenBound().count("abc")
    assert counter.has_failed
    assert "not there after 0.01 s" in caplog.text
    never.set()


def test_only_so_many_tokenizers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization, "_opened", {})
    for number in range(MAX_TOKENIZERS + 9):
        open_counter(f"some/model-{number}")
    assert len(tokenization._opened) == MAX_TOKENIZERS


def test_what_is_wrong_is_seen_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.json").write_text("{}")
    assert problem(str(tmp_path / "own.json")) is None
    assert problem("BAAI/bge-reranker-v2-m3") is None
    assert "holds no tokenizer.json" in (problem(str(tmp_path)) or "")
    assert "neither a file nor a folder" in (problem(str(tmp_path / "no")) or "")
    assert tokenizer_file("BAAI/bge-reranker-v2-m3") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in (problem("BAAI/bge-reranker-v2-m3") or "")
