"""Memory that a layer gives back is there for the next one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep their own ways")

PAGES = 1280
"""Of a block of 5 MiB."""

CODE = """
import ctypes, resource
from providers.local.allocator import keep_freed_memory, return_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def faults():
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [library.malloc(5 << 20) for _ in range(3)]
        for block in blocks:
            ctypes.memset(block, 1, 5 << 20)
        for block in blocks:
            library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

before = faults()
keep_freed_memory()
faults()
kept = faults()
return_freed_memory()
print(before, kept, faults())
"""


def test_pages_are_used_again_until_they_are_returned() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, kept, again = map(int, run.stdout.split())
    assert kept < PAGES / 10 < before
    assert PAGES < again < 5 * PAGES
