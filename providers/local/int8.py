"""Linear layers in 8-bit integers, for processors that compute no 16-bit format natively. Imports torch.

Weights are rounded once, each row of a layer with a scale of its own. Activations are rounded as they come, each token
with a scale of its own. torch's dynamic quantisation takes one scale for a whole batch: little faster, and a score
then depends six times as much on the texts beside its own. The products are those of FBGEMM, which torch is built with.
Figures: docs/decisions/0040-int8-by-row.md.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from providers.errors import NotReady

ENGINE = "fbgemm"

WEIGHT_LEVELS = 127

LEVELS, LEVELS_WITHOUT_VNNI = 127, 63
"""Steps of an activation on each side of 0. Without VNNI two products are added up in 16 bits, which 127 overflow."""

SMALLEST = 1e-12
"""Below it a row counts as zeros."""


class Int8Linear(nn.Module):
    """A linear layer from float32 to float32 whose product is one of integers.

    Args:
        linear: what it stands for.
        levels: steps of an activation on each side of 0.
    """

    def __init__(self, linear: nn.Linear, levels: int) -> None:
        super().__init__()
        self.bias: Tensor
        self.in_features, self.out_features, self.levels = linear.in_features, linear.out_features, levels
        self.weight_packed = pack(linear.weight.detach().float())
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of shape (…, in_features) to (…, out_features)."""
        # An infinity norm would say the same, six times as slowly.
        largest = rows.abs().amax(-1, keepdim=True).clamp_min_(SMALLEST)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, 1 / self.levels, self.levels + 1, self.weight_packed
        )
        return torch.addcmul(self.bias, product, largest)


def pack(weight: Tensor) -> Any:
    """A weight of shape (out, in) in integers, as FBGEMM wants it."""
    scales = (weight.abs().amax(1) / WEIGHT_LEVELS).clamp_min(SMALLEST).double()
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with warnings.catch_warnings():
        # It will go, and nothing that torch offers instead is as fast yet. So torch is bounded in pyproject.toml.
        warnings.filterwarnings("ignore", r"torch\.quantize_per_tensor", UserWarning)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)


def quantize_encoder(net: nn.Module, device: torch.device) -> None:
    """Replace the linear layers of a model's numbered blocks. Raises NotReady where they could not be computed."""
    if device.type != "cpu" or ENGINE not in torch.backends.quantized.supported_engines:
        raise NotReady("`dtype: int8` needs an x86 processor; configure another `dtype`, or leave it out")
    # Which kernels weights are packed for is a setting of the whole process.
    torch.backends.quantized.engine = ENGINE
    levels = LEVELS if has_vnni() else LEVELS_WITHOUT_VNNI
    layers = [name for name, module in net.named_modules() if type(module) is nn.Linear and is_in_block(name)]
    if not layers:
        raise NotReady("`dtype: int8` finds no linear layers in this model; configure another `dtype`, or leave it out")
    for name in layers:
        parent, _, own = name.rpartition(".")
        setattr(net.get_submodule(parent), own, Int8Linear(net.get_submodule(name), levels))  # type: ignore[arg-type]


def is_quantized(net: nn.Module) -> bool:
    """Whether any layer computes in integers."""
    return any(isinstance(module, Int8Linear) for module in net.modules())


def is_in_block(name: str) -> bool:
    """Whether a module belongs to a repeated block of a model. The first part numbers the pipeline's steps."""
    return any(part.isdigit() for part in name.split(".")[1:])


def has_vnni() -> bool:
    """Whether FBGEMM adds products up in 32 bits here. torch before 2.7 does not tell, and is taken to say no."""
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(features.get("avx512_vnni"))
