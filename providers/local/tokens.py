"""Text to token ids: what is tokenised once per request, what may be cut, and what never is. Knows no torch.

What the model reads is always `head + body + tail`. The head of a pair holds the query, the head of an embedded text
its prompt; the body is the document; the tail closes the template. Only the body is ever cut.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Literal, Protocol

from msgspec import Struct

from providers.errors import Unsupported

Long = Literal["truncate", "chunk_max"]
Pair = tuple[str, str]
Render = Callable[[list[Any], str | None], list[list[int]]]

OVERLAP = 8
"""Windows of a long document share an eighth of their length: a sentence on a border is whole in one of them."""

PROBE = "hello"


class Tokens(Struct, frozen=True, eq=False):
    """One input of the model.

    Attributes:
        ids: token ids, special tokens included.
        types: segment ids, as many; None for a model without.
        group: inputs of different groups never share a batch (asymmetric models, prompts that pooling leaves out).
    """

    ids: list[int]
    types: list[int] | None = None
    group: int = 0

    @property
    def key(self) -> bytes:
        """Equal for inputs that the model cannot tell apart."""
        return bytes([self.group]) + array("q", self.ids).tobytes() + bytes(self.types or ())


class Frame(Struct, frozen=True, eq=False):
    """What stands around a body, with its segment ids (empty where the model has none)."""

    head: list[int]
    tail: list[int]
    head_types: list[int]
    tail_types: list[int]
    body_type: int | None = None

    @property
    def size(self) -> int:
        return len(self.head) + len(self.tail)

    def around(self, body: list[int], group: int = 0) -> Tokens:
        ids = self.head + body + self.tail
        if self.body_type is None:
            return Tokens(ids, None, group)
        return Tokens(ids, self.head_types + [self.body_type] * len(body) + self.tail_types, group)


class Split(Struct, frozen=True, eq=False):
    """One request's texts, tokenised but not yet cut."""

    frame: Frame
    bodies: list[list[int]]


class Tokeniser(Protocol):
    """Splits texts into frame and bodies. Blocks, and may be called by several threads at once."""

    def __call__(self, query: str, documents: Sequence[str], instruction: str | None) -> Split: ...


class Encoded(Struct, eq=False):
    """What a request puts in the queue.

    Attributes:
        texts: the model's inputs.
        owners: for each document the positions of its inputs in `texts` (several where it is read in windows).
        query: the position of the query where it is an input of its own, else None.
        truncated: how many documents are not read whole.
    """

    texts: list[Tokens]
    owners: list[range]
    query: int | None = None
    truncated: int = 0


def windows(body: list[int], room: int, long: Long) -> list[list[int]]:
    """The body, in pieces of at most `room` tokens: the first only, or all of them with overlap."""
    if len(body) <= room:
        return [body]
    if long == "truncate":
        return [body[:room]]
    step = max(1, room - room // OVERLAP)
    starts = range(0, len(body) - room + step, step)
    return [body[min(start, len(body) - room) :][:room] for start in starts]


def encode(split: Split, window: int, limit: int | None, long: Long, group: int = 0) -> Encoded:
    """Cut every document to the model's window and the caller's limit. Raises Unsupported if the query fills it."""
    room = room_for_documents(split.frame, window)
    encoded = Encoded([], [])
    for body in split.bodies:
        kept = body if limit is None else body[:limit]
        pieces = windows(kept, room, long)
        encoded.truncated += len(kept) < len(body) or (long == "truncate" and len(kept) > room)
        start = len(encoded.texts)
        encoded.texts.extend(split.frame.around(piece, group) for piece in pieces)
        encoded.owners.append(range(start, len(encoded.texts)))
    return encoded


def room_for_documents(frame: Frame, window: int) -> int:
    """How many tokens of a document fit beside the query, which is never cut."""
    room = window - frame.size
    if room < 1:
        raise Unsupported(
            f"the query is too long for this model: with the tokens around it it takes {frame.size} of the"
            f" {window} that the model reads, which leaves none for a document; shorten the query"
        )
    return room


class Framed:
    """Pairs (or single texts) of a plain tokenizer: the query is tokenised once, the documents by Rust threads.

    Args:
        tokenizer: a `tokenizers.Tokenizer` of ours alone: truncation and padding are switched off.
        typed: whether the model wants segment ids.
        paired: query and document together, or the document alone.
        prompt: text put before the query of a pair, or before a single text.
    """

    def __init__(self, tokenizer: Any, *, typed: bool, paired: bool, prompt: str = "") -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer, self._typed, self._paired, self._prompt = tokenizer, typed, paired, prompt
        self._before, self._between, self._after = self._probe()

    def __call__(self, query: str, documents: Sequence[str], instruction: str | None) -> Split:
        refuse_instruction(instruction)
        if self._paired:
            return Split(self._frame(self._ids([self._prompt + query])[0]), self._ids(documents))
        prompt = self._ids([self._prompt])[0] if self._prompt else []
        bodies = self._ids([self._prompt + document for document in documents])
        # A prompt whose last token melts into the text cannot be held apart; then it counts as part of the document.
        if any(body[: len(prompt)] != prompt for body in bodies):
            prompt = []
        return Split(self._frame(prompt), [body[len(prompt) :] for body in bodies])

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _frame(self, first: list[int]) -> Frame:
        (before, before_type), (between, between_type), (after, after_type) = self._before, self._between, self._after
        if not self._typed:
            return Frame(before + first + between, after, [], [])
        types = before_type + [self._first_type] * len(first) + between_type
        return Frame(before + first + between, after, types, after_type, self._body_type)

    def _probe(self) -> list[tuple[list[int], list[int]]]:
        """The special tokens that the tokenizer puts before, between and after, read off one encoded probe."""
        encoding = self._tokenizer.encode(PROBE, PROBE if self._paired else None)
        parts: list[tuple[list[int], list[int]]] = [([], []), ([], []), ([], [])]
        sequences, place = encoding.sequence_ids, 0
        self._first_type = self._body_type = 0
        for token, kind, sequence in zip(encoding.ids, encoding.type_ids, sequences, strict=True):
            if sequence is None:
                parts[place][0].append(token)
                parts[place][1].append(kind)
            elif sequence == 0 and self._paired:
                place, self._first_type = 1, kind
            else:
                place, self._body_type = 2, kind
        if not self._paired:
            parts = [parts[0], ([], []), parts[2]]
        return parts


class Rendered:
    """Texts that sentence-transformers prepares: each is tokenised whole; the frame is what all, two probes too, share.

    Source: https://sbert.net/docs/cross_encoder/usage/custom_models.html (2026-11)

    Args:
        render: texts (or pairs) and an instruction to ids, uncut. Not safe for threads; called by one at a time.
        prompt: the instruction where the request brings none.
    """

    def __init__(self, render: Render, *, prompt: str | None, typed: bool, paired: bool) -> None:
        self._render, self._prompt, self._typed, self._paired = render, prompt, typed, paired
        self._lock = threading.Lock()

    def __call__(self, query: str, documents: Sequence[str], instruction: str | None) -> Split:
        texts = [(query, text) if self._paired else text for text in ("a", "1", *documents)]
        with self._lock:
            rows = self._render(texts, instruction or self._prompt)
        head = _shared(rows)
        tail = _shared([row[len(head) :][::-1] for row in rows])[::-1]
        bodies = [row[len(head) : len(row) - len(tail)] for row in rows[2:]]
        kinds = ([0] * len(head), [0] * len(tail), 0) if self._typed else ([], [], None)
        return Split(Frame(head, tail, *kinds), bodies)


def _shared(rows: list[list[int]]) -> list[int]:
    """The longest beginning that all rows have in common."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*rows, strict=False))
    return [tokens[0] for tokens in same]


def refuse_instruction(instruction: str | None) -> None:
    if instruction is not None:
        raise Unsupported("this model takes no instruction: it was trained without one; leave `instruction` out")
