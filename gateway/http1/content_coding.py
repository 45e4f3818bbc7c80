"""Content codings (RFC 9110 section 8.4): gzip is read, within a limit; any other is named.

What one side sends may take the other long to unpack. So it is unpacked in pieces, and large bodies let the event loop
serve others in between.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

READABLE = "gzip"
"""What an Accept-Encoding header may name."""

MAX_CODINGS = 2
"""Codings that may be applied to one body, one over the other."""

MAX_GZIP_MEMBERS = 1000
"""Members of one gzip body (RFC 1952 section 2.2). Each costs a decompressor, however little it holds."""

MAX_PIECE_BYTES = 1024 * 1024
"""Unpacked at once, without letting the event loop run."""

_WINDOW_BYTES = 64 * 1024
"""Handed to zlib at once: it copies what it has not used."""

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's code for the gzip format."""


class UnreadableCoding(Exception):
    """The body has a coding other than gzip, or too many. `args` holds their names, as one printable text."""


class BrokenCoding(Exception):
    """The body is not what its coding says."""


class DecodedTooLarge(Exception):
    """The decoded body is over the limit."""


def codings(header: str) -> list[str]:
    """The codings that a Content-Encoding header names, in the order in which they were applied; without `identity`.

    Raises:
        UnreadableCoding: one of them is not gzip, or there are more than MAX_CODINGS.
    """
    if header == "gzip":
        return [header]  # The usual case, without parsing.
    names = [name.strip().lower() for name in header.split(",")]
    applied = [name for name in names if name not in ("", "identity")]
    unreadable = [name for name in applied if name not in ("gzip", "x-gzip")]
    if unreadable or len(applied) > MAX_CODINGS:
        named = ", ".join(dict.fromkeys(unreadable)) or f"{len(applied)} times gzip"
        raise UnreadableCoding("".join(character if character.isprintable() else "?" for character in named[:40]))
    return applied


async def decode(body: bytes, header: str, limit: int) -> bytes:
    """The body without its codings.

    Args:
        body: as it was sent, whole. An empty one has no coding, whatever the header says.
        header: the value of Content-Encoding.
        limit: bytes that it may have, after each coding.

    Raises:
        UnreadableCoding: see `codings`.
        BrokenCoding: it is not whole gzip, or has more than MAX_GZIP_MEMBERS.
        DecodedTooLarge: it is over the limit. No more than that is unpacked.
    """
    for _ in codings(header) if body else ():
        pieces: list[bytes] = []
        for piece in _inflate(body, limit):
            if pieces:
                await asyncio.sleep(0)
            pieces.append(piece)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return body


def _inflate(body: bytes, limit: int) -> Iterator[bytes]:
    """The plain bytes of all members of a gzip body, in pieces of up to MAX_PIECE_BYTES."""
    view, position = memoryview(body), 0
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            window = view[position : position + _WINDOW_BYTES]
            piece = _decompress(member, window, min(MAX_PIECE_BYTES, limit + 1))
            limit -= len(piece)
            if limit < 0:
                raise DecodedTooLarge
            position += len(window) - len(member.unused_data if member.eof else member.unconsumed_tail)
            yield piece
        # Zeros may follow as padding (as gzip itself allows), since some writers fill up blocks of fixed size.
        if position == len(body) or (body[position] == 0 and body.count(0, position) == len(body) - position):
            return
    raise BrokenCoding


def _decompress(member: zlib._Decompress, window: memoryview, limit: int) -> bytes:
    try:
        piece = member.decompress(window, limit)
    except zlib.error:
        raise BrokenCoding from None
    if not window and not piece and not member.eof:
        raise BrokenCoding  # It is cut short.
    return piece
