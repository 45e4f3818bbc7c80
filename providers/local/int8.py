"""Linear layers in 8-bit integers, for processors that compute no 16-bit format natively. Imports torch.

Weights are rounded once, each row of a layer with a scale of its own. Activations are rounded as they come, each token
in 255 steps from its least number to its largest: w · x = span * (w · steps) + least * sum(w). torch's dynamic
quantisation takes one scale for a whole batch: little faster, and a score then depends six times as much on the texts
beside its own. The products are FBGEMM's, which torch is built with. Figures: docs/decisions/0040-int8-by-row.md.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from providers.errors import NotReady

ENGINE = "fbgemm"

STEPS = 255
"""Steps of an activation, from a token's least number to its largest."""

WEIGHT_LEVELS, WEIGHT_LEVELS_IN_16_BITS = 127, 64
"""Steps of a weight on each side of 0. Where two products are added up in 16 bits, 127 would overflow.

Fewer steps of the activations instead would cost more: they are spread more unevenly than weights.
"""

ENOUGH_TO_OVERFLOW = 64
"""Inputs of a layer of ones whose products overflow where they are added up in 16 bits."""

SMALLEST = 1e-12
"""Below it a row counts as zeros."""


class Int8Linear(nn.Module):
    """A linear layer from float32 to float32 whose product is one of integers.

    Args:
        linear: what it stands for.
        levels: steps of a weight on each side of 0.
    """

    def __init__(self, linear: nn.Linear, levels: int) -> None:
        super().__init__()
        self.bias: Tensor
        self.weight_sums: Tensor
        self.in_features, self.out_features = linear.in_features, linear.out_features
        rounded = quantize_rows(linear.weight.detach().float(), levels)
        self.weight_packed = torch.ops.quantized.linear_prepack(rounded, None)
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("weight_sums", rounded.dequantize().sum(1), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows of shape (…, in_features) to (…, out_features)."""
        # aminmax would give both at once, twelve times as slowly.
        least, largest = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
        span = (largest - least).clamp_min_(SMALLEST)
        # addcmul would do both in one pass, but not in vectors where two of its factors are one number a row.
        shares = (rows - least).div_(span)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            shares, 1 / STEPS, 0, self.weight_packed
        )
        return torch.addcmul(self.bias, product, span, out=product).addcmul_(least, self.weight_sums)


def quantize_rows(weight: Tensor, levels: int) -> Tensor:
    """A weight of shape (out, in) in integers from -levels to levels, each row with a scale of its own."""
    scales = (weight.abs().amax(1) / levels).clamp_min(SMALLEST).double()
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with warnings.catch_warnings():
        # It will go, and nothing that torch offers instead is as fast yet. So torch is bounded in pyproject.toml.
        warnings.filterwarnings("ignore", r"torch\.quantize_per_tensor", UserWarning)
        return torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)


def quantize_encoder(net: nn.Module, device: torch.device) -> None:
    """Replace the linear layers of a model's numbered blocks. Raises NotReady where they could not be computed."""
    if device.type != "cpu" or ENGINE not in torch.backends.quantized.supported_engines:
        raise NotReady("`dtype: int8` needs an x86 processor; configure another `dtype`, or leave it out")
    # Which kernels weights are packed for is a setting of the whole process.
    torch.backends.quantized.engine = ENGINE
    levels = WEIGHT_LEVELS if adds_in_32_bits() else WEIGHT_LEVELS_IN_16_BITS
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


def adds_in_32_bits() -> bool:
    """Whether FBGEMM adds products up in 32 bits here (VNNI). Tried out, since a variable can keep it from doing so."""
    torch.backends.quantized.engine = ENGINE
    size = ENOUGH_TO_OVERFLOW
    ones = nn.Linear(size, 1, bias=False)
    nn.init.ones_(ones.weight)
    with torch.inference_mode():
        # From 0 to 1, so that nearly all inputs are the largest step.
        total = Int8Linear(ones, WEIGHT_LEVELS)(torch.tensor([[0.0] + [1.0] * (size - 1)]))
    return float(total) > size - 1.5
