"""Answers on disk: one line of JSON each, written as soon as it is there. What is there is never asked again."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
from msgspec import Struct

from evaluation.errors import EvaluationError

_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True, omit_defaults=True):
    """What a model made of a question. It holds no text.

    Attributes:
        key: the question's.
        model, variant, query_id: the question's, for people who read the file.
        indices: positions of the question's documents, best first; without those that the model left out.
        scores: theirs.
        latency: milliseconds that the gateway took.
        cost: US dollars; None if unknown.
        tokens: that the provider counted; None if it did not.
        truncated: documents that were cut; None if the provider does not say.
        served: the provider that answered, by its configured name.
        degraded: no model ranked: a passthrough answered in its place.
        error: the code of what went wrong; "" for an answer.
    """

    key: str
    model: str
    variant: str
    query_id: str
    indices: list[int] = []
    scores: list[float] = []
    latency: float | None = None
    cost: float | None = None
    tokens: int | None = None
    truncated: int | None = None
    served: str = ""
    degraded: bool = False
    error: str = ""


class AnswerFile:
    """The file of answers of an evaluation.

    Args:
        path: it is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._end_at_a_whole_line()
            self._stream = self._path.open("ab")
        except OSError as error:
            raise EvaluationError(f"cannot write {self._path}: {error.strerror}") from None
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream:
            self._stream.close()

    def add(self, answer: Answer) -> None:
        """Append an answer. It is in the hands of the operating system when this returns: killing us loses nothing."""
        if self._stream is None:
            raise ValueError("the file is not open")
        self._stream.write(_encode(answer) + b"\n")
        self._stream.flush()

    def read(self, keys: Container[str]) -> Iterator[Answer]:
        """The answers to those questions, as they were written; a question that failed at first may have several."""
        decode = msgspec.json.Decoder(Answer).decode
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    answer = decode(line)
                except msgspec.DecodeError:
                    raise EvaluationError(f"{self._path}, line {number} is no answer; use another --output") from None
                if answer.key in keys:
                    yield answer

    def _end_at_a_whole_line(self) -> None:
        """Cut off what was half written when an earlier run was killed."""
        if not self._path.exists():
            return
        with self._path.open("rb+") as stream:
            end = stream.seek(0, 2)
            tail = b""
            while end > 0 and b"\n" not in tail:
                start = max(0, end - 65536)
                stream.seek(start)
                tail, end = stream.read(end - start), start
            stream.truncate(end + tail.rfind(b"\n") + 1)
