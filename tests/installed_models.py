"""Which models the developer has installed. Tests see none of them, except those that ask here."""

from __future__ import annotations

import os
from pathlib import Path

from providers.local.builtin import store
from providers.local.builtin.catalogue import CROSS_ENCODER

FOLDER = Path(os.environ.setdefault("RERANK_GATEWAY_TEST_MODELS", str(store.root())))
"""Kept in the environment, since processes that a test run starts see another `store.root()`."""

HAS_CROSS_ENCODER = (FOLDER / CROSS_ENCODER.name).is_dir()
