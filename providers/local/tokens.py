"""From the texts of a request to the token ids that the model reads. Needs no torch.

Every input of the model is `head + body + tail`. The body is the document, and only the body is ever cut. The head of a
pair holds the query, the head of a text to be embedded its prompt; the tail closes the template.
"""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from providers.errors import Unsupported
from providers.local.embedded_text import EmbeddedText
from providers.local.reading import MAX_CHARACTERS_PER_TOKEN, Reading, refuse_long_query, tokenize_as_read

LongDocuments = Literal["truncate", "chunk_max"]
"""What becomes of a document longer than the window: it is cut, or read in windows of which the best one counts."""

INSTRUCT = re.compile(r"(?P<before>.*?Instruct: ?)(?P<task>.+?)(?P<after>\n ?Query: ?)", re.DOTALL)
"""A prompt with a place for an instruction, as E5, Qwen3-Embedding and their like have it before a query.

Source: https://huggingface.co/intfloat/multilingual-e5-large-instruct (2026-11)
"""

Render = Callable[[list[Any], str | None], list[list[int]]]

WINDOW_OVERLAP = 1 / 8
"""The share of its length that a window has in common with the next, so that a sentence on a border is whole in one."""

PROBES = ("a", "1")
"""Texts that have nothing in common: what their rows have is the template's."""

PROBE = "hello"
"""A text to learn from how a tokenizer or a pipeline treats texts."""


class Tokens(Struct, frozen=True, eq=False):
    """One input of the model.

    Attributes:
        ids: token ids, special tokens included.
        types: segment ids (`token_type_ids`), one per token; None for a model without.
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
    """The tokens around a body, the same for all documents of a request.

    Attributes:
        head, tail: token ids before and after the body.
        head_types, tail_types: their segment ids; empty where the model has none.
        body_type: the segment id of every token of the body; None where the model has none.
    """

    head: list[int]
    tail: list[int]
    head_types: list[int]
    tail_types: list[int]
    body_type: int | None = None

    @property
    def size(self) -> int:
        """Tokens of head and tail."""
        return len(self.head) + len(self.tail)

    def wrap(self, body: list[int], group: int = 0) -> Tokens:
        """The input of the model for this body."""
        ids = self.head + body + self.tail
        if self.body_type is None:
            return Tokens(ids, None, group)
        return Tokens(ids, self.head_types + [self.body_type] * len(body) + self.tail_types, group)


class TokenizedTexts(Struct, frozen=True, eq=False):
    """One request's texts as token ids, at least as far as the model reads them.

    Attributes:
        bodies: the ids of each document, without the frame.
        cut: the positions of the documents that are not there to their end.
    """

    frame: Frame
    bodies: list[list[int]]
    cut: frozenset[int] = frozenset()


class RequestTokenizer(Protocol):
    """Tokenises a request, apart into frame and bodies. Blocks; may be called by several threads at once.

    Attributes:
        takes_instruction: whether there is a place for one.
    """

    takes_instruction: bool

    def __call__(
        self, query: str, documents: Sequence[str], instruction: str | None, reading: Reading
    ) -> TokenizedTexts:
        """Raises Unsupported where the model takes no instruction, or the query leaves no room for a document."""
        ...


class EncodedRequest(Struct, eq=False):
    """What a request puts in the queue.

    Attributes:
        inputs: the model's inputs.
        document_inputs: for each document its positions in `inputs`; several where it is read in windows.
        query_input: the position of the query in `inputs`, where it is an input of its own.
        truncated: the positions of the documents that are not read whole, and how many of their tokens are.
        raw_scores: whether the logits are wanted without the model's activation.
        lexical: what is added to each document's score; None adds nothing.
        cached_tokens: of texts that need not be computed again, each distinct text once.
        texts: of an embedding model what is known of the documents, and at last of the query.
        details: what the answer tells beside figures of time.
    """

    inputs: list[Tokens]
    document_inputs: list[range]
    query_input: int = 0
    truncated: dict[int, int] = field(default_factory=dict)
    raw_scores: bool = False
    lexical: list[float] | None = None
    cached_tokens: int = 0
    texts: list[EmbeddedText] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add_lexical(self, weight: float, scores: list[float]) -> None:
        """Have these added to the documents' scores, and the answer tell the weight."""
        self.lexical, self.details["lexical"] = scores, weight


def cut_to_read(
    texts: TokenizedTexts, window: int, max_tokens: int | None, long_documents: LongDocuments
) -> TokenizedTexts:
    """The same texts as far as the model reads them.

    Args:
        window: tokens that the model reads at once.
        max_tokens: the caller's limit per document; None is no limit.
        long_documents: what becomes of a document that does not fit.

    Raises:
        Unsupported: if the query leaves no room for a document.
    """
    room = room_for_document(texts.frame, window)
    most = max_tokens if long_documents == "chunk_max" else min(max_tokens or room, room)
    bodies = [body[:most] for body in texts.bodies]
    pairs = enumerate(zip(bodies, texts.bodies, strict=True))
    cut = {number for number, (read, whole) in pairs if len(read) < len(whole)}
    return TokenizedTexts(texts.frame, bodies, texts.cut | cut)


def cut_into_windows(body: list[int], room: int) -> list[list[int]]:
    """The body in as many pieces of at most `room` tokens as cover it, with overlap."""
    if len(body) <= room:
        return [body]
    step = max(1, room - int(room * WINDOW_OVERLAP))
    starts = range(0, len(body) - room + step, step)
    return [body[min(start, len(body) - room) :][:room] for start in starts]


def encode(texts: TokenizedTexts, window: int, group: int = 0) -> EncodedRequest:
    """Put the frame around every document, or around each of the windows that it is read in.

    Args:
        texts: the tokenised request, as far as the model reads it.
        window: tokens that the model reads at once.
        group: of the inputs, as in `Tokens`.

    Raises:
        Unsupported: if the query leaves no room for a document.
    """
    room = room_for_document(texts.frame, window)
    encoded = EncodedRequest([], [], truncated={number: len(texts.bodies[number]) for number in sorted(texts.cut)})
    for body in texts.bodies:
        start = len(encoded.inputs)
        encoded.inputs.extend(texts.frame.wrap(piece, group) for piece in cut_into_windows(body, room))
        encoded.document_inputs.append(range(start, len(encoded.inputs)))
    return encoded


def distinct_tokens(inputs: Iterable[Tokens]) -> int:
    """How many tokens these inputs have, each distinct input once."""
    return sum({tokens.key: len(tokens.ids) for tokens in inputs}.values())


def room_for_document(frame: Frame, window: int) -> int:
    """How many tokens of a document fit beside the query, which is never cut. Raises Unsupported if none do."""
    room = window - frame.size
    if room < 1:
        raise Unsupported(
            f"the query is too long for this model: with the tokens around it it takes {frame.size} of the"
            f" {window} that the model reads, which leaves none for a document; shorten the query"
        )
    return room


class PlainTokenizer:
    """Pairs, or single texts, that need no template: the query is tokenised once, documents by the library's threads.

    Args:
        tokenizer: a `tokenizers.Tokenizer` that nobody else uses: its truncation and padding are switched off.
        typed: whether the model wants segment ids.
        paired: whether the model reads query and document together, or the document alone.
        prompt: text put before the query of a pair, or before a single text.

    Attributes:
        takes_instruction: whether the prompt has a place for one.
    """

    def __init__(self, tokenizer: Any, *, typed: bool, paired: bool, prompt: str = "") -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer, self._typed, self._paired, self._prompt = tokenizer, typed, paired, prompt
        self._instruct = INSTRUCT.fullmatch(prompt)
        self.takes_instruction = self._instruct is not None
        self._before, self._between, self._after = self._special_tokens()

    def __call__(
        self, query: str, documents: Sequence[str], instruction: str | None, reading: Reading
    ) -> TokenizedTexts:
        text = self._prompt_with(instruction)
        if self._paired:
            frame = self._frame(self._query_ids(text + query, reading))
            room_for_document(frame, reading.window)  # Before any document costs anything.
            documents_read = tokenize_as_read(self._ids, documents, reading)
            return TokenizedTexts(frame, documents_read.rows, documents_read.cut)
        prompt = self._ids([text])[0] if text else []
        read = tokenize_as_read(self._ids, [text + document for document in documents], reading, more=len(prompt))
        # Where the prompt's last token merges with the text, the two cannot be told apart: all of it is then document.
        if any(row[: len(prompt)] != prompt for row in read.rows):
            prompt = []
        return TokenizedTexts(self._frame(prompt), [row[len(prompt) :] for row in read.rows], read.cut)

    def _prompt_with(self, instruction: str | None) -> str:
        if instruction is None:
            return self._prompt
        if self._instruct is None:
            raise Unsupported("this model takes no instruction: it was trained without one")
        return self._instruct["before"] + instruction + self._instruct["after"]

    def _query_ids(self, query: str, reading: Reading) -> list[int]:
        read = tokenize_as_read(self._ids, [query], reading.query())
        if read.cut and len(read.rows[0]) < reading.window:
            refuse_long_query(reading)
        return read.rows[0]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _frame(self, first: list[int]) -> Frame:
        (before, before_type), (between, between_type), (after, after_type) = self._before, self._between, self._after
        if not self._typed:
            return Frame(before + first + between, after, [], [])
        types = before_type + [self._first_type] * len(first) + between_type
        return Frame(before + first + between, after, types, after_type, self._body_type)

    def _special_tokens(self) -> list[tuple[list[int], list[int]]]:
        """The ids, and their segment ids, that the tokenizer puts before, between and after texts; read off a probe."""
        encoding = self._tokenizer.encode(PROBE, PROBE if self._paired else None)
        parts: list[tuple[list[int], list[int]]] = [([], []), ([], []), ([], [])]
        sequences, part = encoding.sequence_ids, 0
        self._first_type = self._body_type = 0
        for token, kind, sequence in zip(encoding.ids, encoding.type_ids, sequences, strict=True):
            if sequence is None:
                parts[part][0].append(token)
                parts[part][1].append(kind)
            elif sequence == 0 and self._paired:
                part, self._first_type = 1, kind
            else:
                part, self._body_type = 2, kind
        if not self._paired:
            parts = [parts[0], ([], []), parts[2]]
        return parts


class TemplateTokenizer:
    """Texts that sentence-transformers puts into a template. Each is tokenised whole.

    Two probes are tokenised with them: what the ids of all have in common at both ends is the frame.

    Source: https://sbert.net/docs/cross_encoder/usage/custom_models.html (2026-11)

    Args:
        render: from texts (or pairs) and an instruction to ids, uncut. Not safe for threads; one calls it at a time.
        prompt: the instruction where the request brings none.
        typed: whether the model wants segment ids.
        paired: whether the model reads query and document together, or the document alone.

    Attributes:
        takes_instruction: whether the template makes anything of one.
    """

    def __init__(self, render: Render, *, prompt: str | None, typed: bool, paired: bool) -> None:
        self._render, self._prompt, self._typed, self._paired = render, prompt, typed, paired
        self._lock = threading.Lock()
        one, other = (render([(PROBE, PROBE) if paired else PROBE], text)[0] for text in PROBES)
        self.takes_instruction = paired and one != other

    def __call__(
        self, query: str, documents: Sequence[str], instruction: str | None, reading: Reading
    ) -> TokenizedTexts:
        prompt = instruction or self._prompt
        if len(query) + len(prompt or "") > reading.window * MAX_CHARACTERS_PER_TOKEN:
            refuse_long_query(reading)

        def ids(texts: Sequence[str]) -> list[list[int]]:
            with self._lock:
                return self._render([(query, text) if self._paired else text for text in texts], prompt)

        probes = ids(PROBES)
        # Before any document costs anything.
        room_for_document(self._frame(probes)[0], reading.window)
        read = tokenize_as_read(ids, documents, reading, more=max(map(len, probes)))
        frame, bodies = self._frame([*probes, *read.rows])
        return TokenizedTexts(frame, bodies[len(probes) :], read.cut)

    def _frame(self, rows: list[list[int]]) -> tuple[Frame, list[list[int]]]:
        """What all rows have in common at both ends, and what each has between."""
        head = _common_prefix(rows)
        tail = _common_prefix([row[len(head) :][::-1] for row in rows])[::-1]
        kinds = ([0] * len(head), [0] * len(tail), 0) if self._typed else ([], [], None)
        return Frame(head, tail, *kinds), [row[len(head) : len(row) - len(tail)] for row in rows]


def _common_prefix(rows: list[list[int]]) -> list[int]:
    """The longest prefix that all rows have in common."""
    equal = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*rows, strict=False))
    return [tokens[0] for tokens in equal]
