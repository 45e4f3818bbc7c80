"""Tokenise texts only as far as the model reads them, in slices between which a request can end. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from providers.errors import Unsupported

FIRST_CHARACTERS_PER_TOKEN, MAX_CHARACTERS_PER_TOKEN = 8, 64
"""Of a long text, 8 characters for each token that is wanted are tokenised first, then twice as many until these give
enough tokens, but no more than 64 for each. English has some 4.5. Beyond 64 there is white space, or no text at all.
"""

SPARE_TOKENS = 64
"""Tokens beyond those wanted. The last ones before a cut may differ from those of the whole text, and are not used."""

MAX_WORD_CHARACTERS = 256
"""What goes on for longer without white space is cut anywhere: Chinese, emoji, encoded bytes."""

MAX_SLICE_CHARACTERS = 1 << 18
"""Characters that are tokenised at once: some 50 ms of computing."""

Tokenize = Callable[[Sequence[str]], list[list[int]]]


class Reading(Struct, frozen=True):
    """How much of a request the model reads.

    Attributes:
        window: tokens that the model reads at once.
        limit: tokens that are read of each document at most; None reads all of it.
        check: called before each slice; raises RerankError when nobody waits for the request any more.
    """

    window: int
    limit: int | None
    check: Callable[[], None] = lambda: None

    def query(self) -> Reading:
        """The same for a query, which has to fit into the window."""
        return Reading(self.window, self.window, self.check)


class TokenizedRows(Struct, frozen=True):
    """What came of tokenising.

    Attributes:
        rows: the ids of each text.
        cut: the positions of the texts that were not tokenised to their end.
    """

    rows: list[list[int]]
    cut: frozenset[int]


def tokenize_as_read(tokenize: Tokenize, texts: Sequence[str], reading: Reading, more: int = 0) -> TokenizedRows:
    """Tokenise each text far enough for the limit and `more` tokens, and SPARE_TOKENS beyond where it is cut.

    Raises:
        RerankError: `reading.check` did.
    """
    rows: list[list[int]] = [[]] * len(texts)
    left, cut = list(range(len(texts))), set[int]()
    wanted = None if reading.limit is None else reading.limit + more + SPARE_TOKENS
    for characters in _stages(wanted):
        pieces = {position: prefix(texts[position], characters) for position in left}
        for slice_ in _slices(pieces):
            reading.check()
            rows_of_slice = tokenize([pieces[position] for position in slice_])
            for position, row in zip(slice_, rows_of_slice, strict=True):
                rows[position] = row
        partial = [position for position in left if len(pieces[position]) < len(texts[position])]
        cut = cut.difference(left).union(partial)
        left = [position for position in partial if len(rows[position]) < (wanted or 0)]
        if not left:
            break
    return TokenizedRows(rows, frozenset(cut))


def prefix(text: str, characters: int | None) -> str:
    """The beginning of a text: so many characters at most, and without the word that is cut there, if it is one."""
    if characters is None or len(text) <= characters:
        return text
    sure = max(0, characters - MAX_WORD_CHARACTERS)
    parts = text[sure:characters].rsplit(None, 1)
    # White space alone has no parts; what has a single part goes on without any, and is no word of a language.
    return text[:characters] if len(parts) == 1 and sure else text[:sure] + (parts[0] if parts else "")


def refuse_long_query(reading: Reading) -> None:
    """Raises Unsupported for a query of which not even its size in tokens is known."""
    raise Unsupported(
        f"the query is too long for this model, which reads {reading.window} tokens of it and a document; shorten it"
    )


def _stages(wanted: int | None) -> Iterator[int | None]:
    """How many characters to tokenise, until they give the tokens that are wanted; None is all of them."""
    if wanted is None:
        yield None
        return
    factor = FIRST_CHARACTERS_PER_TOKEN
    while factor <= MAX_CHARACTERS_PER_TOKEN:
        yield wanted * factor
        factor *= 2


def _slices(pieces: Mapping[int, str]) -> Iterator[list[int]]:
    """The positions in groups of about MAX_SLICE_CHARACTERS, and at least one."""
    group, size = list[int](), 0
    for position, piece in pieces.items():
        if group and size + len(piece) > MAX_SLICE_CHARACTERS:
            yield group
            group, size = [], 0
        group.append(position)
        size += len(piece) + 1
    if group:
        yield group
