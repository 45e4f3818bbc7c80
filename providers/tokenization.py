"""How many tokens a text has: counted by a model's own tokenizer, or bounded from above where none is configured."""

from __future__ import annotations

import importlib.util
import logging
import threading
import unicodedata
from collections import Counter
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)

INSTALL_COMMAND = "pip install tokenizers"

MAX_CHARACTERS = 65_536
"""Characters whose cost is remembered."""

LOAD_SECONDS = 30.0
"""How long the Hub is waited for: whoever needs the tokenizer holds one of few threads meanwhile."""

MAX_TOKENIZERS = 64
"""Tokenizers that are shared; what is opened beyond takes the place of the first."""

FileStamp = tuple[int, int, int]

CHARACTERS_PER_TOKEN = 5
"""How much of a long text is looked at first, for each token that it may have."""


class TokenCounter(Protocol):
    """Counts the tokens of texts. Both functions block for as long as the text is long."""

    @property
    def is_exact(self) -> bool:
        """Whether it counts as the model does."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether nothing must be loaded first."""
        ...

    def count(self, text: str) -> int:
        """At least as many tokens as the text has, without those that the model adds around it."""
        ...

    def prefix(self, text: str, limit: int) -> int:
        """How many of its first characters have at most `limit` tokens; 0 if not even one has."""
        ...


class TokenBound:
    """An upper bound for any tokenizer: a token for every byte of UTF-8, in whatever form the text is normalised to.

    Byte pairs begin with bytes, word pieces with characters, and unigrams fall back on either. One token more may stand
    for the space that some put before a text. Texts in natural languages have about a quarter of this.
    """

    is_exact = False
    is_ready = True

    def count(self, text: str) -> int:
        if text.isascii():
            return len(text) + 1
        return 1 + sum(_cost(character) * times for character, times in Counter(text).items())

    def prefix(self, text: str, limit: int) -> int:
        left = max(1, limit - 1)
        head = text[:left]  # A character has at least one token in this count.
        if head.isascii():
            return len(head)
        for index, character in enumerate(head):
            left -= _cost(character)
            if left < 0:
                return index
        return len(head)


@lru_cache(maxsize=MAX_CHARACTERS)
def _cost(character: str) -> int:
    """Bytes of a character in that of its forms which is the longest."""
    forms = {unicodedata.normalize(form, character) for form in ("NFC", "NFD", "NFKC", "NFKD")} | {character}
    forms |= {form.lower() for form in forms} | {form.casefold() for form in forms}
    return max(len(form.encode("utf-8", "surrogatepass")) for form in forms)


class FileTokenizer:
    """A tokenizer of the package `tokenizers`, loaded when it is first needed.

    Args:
        path: a `tokenizer.json`, a folder that holds one, or the name of a repository of the Hugging Face Hub.
    """

    is_exact = True

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tokenizer: Any = None
        self._fallback: TokenBound | None = None

    @property
    def is_ready(self) -> bool:
        return self._tokenizer is not None or self._fallback is not None

    @property
    def has_failed(self) -> bool:
        """Whether it could not be loaded."""
        return self._fallback is not None

    def count(self, text: str) -> int:
        tokenizer = self._loaded()
        if tokenizer is None:
            return TokenBound().count(text)
        return len(_encode(tokenizer, text).ids)

    def prefix(self, text: str, limit: int) -> int:
        tokenizer = self._loaded()
        if tokenizer is None:
            return TokenBound().prefix(text, limit)
        size = limit * CHARACTERS_PER_TOKEN
        while len((encoding := _encode(tokenizer, text[:size])).ids) <= limit:
            if size >= len(text):
                return len(text)
            size *= 2
        return _fitting(tokenizer, text, encoding.offsets, limit)

    def _loaded(self) -> Any:
        """The tokenizer; None if it cannot be had, which is logged once."""
        if self._tokenizer is None and self._fallback is None:
            with self._lock:
                self._load()
        return self._tokenizer

    def _load(self) -> None:
        if self._tokenizer is not None or self._fallback is not None:
            return
        try:
            self._tokenizer = _open_in_time(self._path)
        except Exception as error:
            logger.error(
                "the tokenizer %s cannot be loaded (%s: %s); tokens are estimated",
                self._path,
                type(error).__name__,
                error,
            )
            self._fallback = TokenBound()


def _open_in_time(path: str) -> Any:
    """The tokenizer. Raises TimeoutError after LOAD_SECONDS, else as `_open`."""
    opened: Future[Any] = Future()

    def work() -> None:
        try:
            opened.set_result(_open(path))
        except Exception as error:
            opened.set_exception(error)

    threading.Thread(target=work, name="tokenizer", daemon=True).start()
    try:
        return opened.result(LOAD_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"not there after {LOAD_SECONDS:g} s") from None


def _open(path: str) -> Any:
    from tokenizers import Tokenizer

    file = tokenizer_file(path)
    tokenizer = Tokenizer.from_pretrained(path) if file is None else Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _encode(tokenizer: Any, text: str) -> Any:
    # A surrogate without its other half is no Unicode: it counts as the one character that it is replaced by.
    clean = text.encode("utf-8", "replace").decode()
    # Unlike `encode`, which holds up every thread of the process (2 s for 900,000 characters), it lets others run.
    return tokenizer.encode_batch([clean], add_special_tokens=False)[0]


def _fitting(tokenizer: Any, text: str, offsets: list[tuple[int, int]], limit: int) -> int:
    """The end of the first `limit` tokens, or of fewer: a text that is cut may have more tokens than it had within."""
    keep = limit
    while keep > 0:
        end = offsets[keep - 1][1]
        excess = len(_encode(tokenizer, text[:end]).ids) - limit
        if excess <= 0:
            return end
        keep -= excess
    return 0


def tokenizer_file(path: str) -> Path | None:
    """The file that a path names; None for a name of the Hub."""
    place = Path(path).expanduser()
    if place.is_dir():
        return place / "tokenizer.json"
    return place if place.is_file() else None


def problem(path: str) -> str | None:
    """What is wrong with a configured tokenizer, as far as can be seen without loading it."""
    if importlib.util.find_spec("tokenizers") is None:
        return f"needs the package tokenizers; run: {INSTALL_COMMAND}"
    file = tokenizer_file(path)
    if file is not None and not file.is_file():
        return f'the folder "{path}" holds no tokenizer.json'
    if file is None and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        return f'"{path}" is neither a file nor a folder'
    return None


_opened: dict[str, tuple[FileStamp | None, FileTokenizer]] = {}
"""The tokenizers in use, by their path, each with the stamp of its file when it was opened."""


def open_counter(path: str | None) -> TokenCounter:
    """The counter for a configured tokenizer, shared by all that name it; the bound if none is configured.

    A file that has changed is read anew, and what could not be loaded is tried again: a reload may follow its repair.
    """
    if path is None:
        return TokenBound()
    stamp = _stamp(path)
    known = _opened.get(path)
    if known is None or known[0] != stamp or known[1].has_failed:
        if len(_opened) >= MAX_TOKENIZERS:
            del _opened[next(iter(_opened))]
        known = _opened[path] = (stamp, FileTokenizer(path))
    return known[1]


def _stamp(path: str) -> FileStamp | None:
    """What changes with a file: its time, size and inode; None for a name of the Hub, or where there is none."""
    file = tokenizer_file(path)
    try:
        status = None if file is None else file.stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
