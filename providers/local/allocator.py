"""What the C library does with memory that a forward pass gives back. Figures: docs/decisions/0040-int8-by-row.md.

A layer's numbers are some megabytes, given back when the next layer has read them. glibc returns so much to the kernel
at once, and the next layer gets new pages, each of which costs an interrupt and is filled with zeros: in int8 a tenth
of all time, or more. musl, macOS and a preloaded allocator keep their own ways.
"""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""

MAX_KEPT_BYTES = 256 << 20
"""How much freed memory at the end of the heap stays with the process."""

MAX_HEAP_BLOCK_BYTES = 32 << 20
"""Larger blocks come from the kernel and go back to it. More than this glibc refuses."""


def keep_freed_memory() -> None:
    """Let the whole process reuse what it frees."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MAX_HEAP_BLOCK_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, MAX_KEPT_BYTES)


def return_freed_memory() -> None:
    """Give the kernel what is free now: a copy of the model or more after loading, all of it once it is gone."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
