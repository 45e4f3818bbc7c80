"""Writes weights as integers with scales, in the safetensors format. Needs no torch.

A tensor `w` that was quantised is stored as its integers, with `w.scale` and, unless it is 0, `w.zero_point` beside
it: `w = scale * (integers - zero_point)`. The others are stored as they are. Nothing is computed and the order is that
of the names, so the same weights give the same bytes on every machine.

Source: https://github.com/huggingface/safetensors#format (2026-11)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

SCALE, ZERO_POINT = ".scale", ".zero_point"
"""End the names of what belongs to a tensor of integers."""

FORMAT = {"format": "pt", "weights": "scale * (integers - zero_point)"}
"""The metadata of such a file."""

DTYPES = {"f4": "F32", "i1": "I8", "u1": "U8"}
ALIGNMENT = 8


def write(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write a file that holds these tensors. Raises OSError; ValueError for a type that it cannot hold."""
    # Floats first: then each of them begins at a multiple of its size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": FORMAT}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {"dtype": _dtype(tensors[name]), "shape": tensors[name].shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(tensors[name].tobytes())


def _dtype(tensor: Array) -> str:
    code = tensor.dtype.str[1:]
    if code not in DTYPES or tensor.dtype.byteorder == ">":
        raise ValueError(f"weights of the type {tensor.dtype} cannot be stored")
    return DTYPES[code]
