"""Read weights that are stored as integers with scales, as ordinary float32 tensors. Imports torch.

The format is told in `builtin/quantized.py`, which writes it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from providers.local.builtin.quantized import FORMAT, SCALE, ZERO_POINT
from providers.local.source import WEIGHTS


def float_weights(folder: Path) -> dict[str, Tensor] | None:
    """All tensors of a model in float32; None where its file stores them as they are, for the libraries to read."""
    if not (folder / WEIGHTS).is_file():
        return None
    with safe_open(folder / WEIGHTS, "pt") as file:
        if (file.metadata() or {}).get("weights") != FORMAT["weights"]:
            return None
        stored: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    names = [name for name in stored if not name.endswith((SCALE, ZERO_POINT))]
    return {name: _multiply_out(stored, name) for name in names}


def _multiply_out(stored: dict[str, Tensor], name: str) -> Tensor:
    """`scale * (integers - zero_point)` where the tensor has a scale."""
    tensor, scale = stored[name], stored.get(name + SCALE)
    if scale is None:
        return tensor
    return tensor.to(torch.float32).sub_(stored.get(name + ZERO_POINT, torch.tensor(0))).mul_(scale)
