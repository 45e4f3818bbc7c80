"""8-bit integers: near float32, and a text's score is still its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import bert, embedder, engine, modernbert, qwen, request, scores, xlm_roberta
from torch import nn

from providers.errors import NotReady
from providers.local import int8
from providers.local.int8 import Int8Linear, adds_in_32_bits
from providers.local.loading import load
from providers.spec import LocalModel

Build = Callable[..., Path]

pytestmark = pytest.mark.skipif(
    int8.ENGINE not in torch.backends.quantized.supported_engines, reason="this processor has no FBGEMM"
)

LEVELS = [int8.WEIGHT_LEVELS_IN_16_BITS, *([int8.WEIGHT_LEVELS] if adds_in_32_bits() else [])]


def layer(bias: bool = True, scale: float = 1.0) -> nn.Linear:
    torch.manual_seed(3)
    linear = nn.Linear(96, 40, bias=bias)
    with torch.no_grad():
        linear.weight.mul_(scale)
    return linear


def packed(linear: nn.Linear, levels: int) -> Int8Linear:
    torch.backends.quantized.engine = int8.ENGINE
    return Int8Linear(linear, levels)


def rows(*shape: int, spread: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)) * spread


INPUTS: dict[str, tuple[nn.Linear, torch.Tensor]] = {
    "a batch of texts": (layer(), rows(3, 7, 96)),
    "one token": (layer(), rows(1, 96)),
    "without bias": (layer(bias=False), rows(5, 96)),
    "tiny numbers": (layer(), rows(5, 96, spread=1e-6)),
    "huge numbers": (layer(scale=100), rows(5, 96, spread=1e4)),
    "numbers above a bound": (layer(), nn.functional.gelu(rows(5, 96))),
    "numbers far from 0": (layer(), rows(5, 96) - 50),
    "one and the same number": (layer(), torch.full((2, 96), -3.0)),
    "one number that stands out": (layer(), torch.cat([rows(4, 95), torch.full((4, 1), 50.0)], 1)),
    "zeros": (layer(), torch.zeros(2, 96)),
    "weights of zeros": (layer(scale=0.0), rows(2, 96)),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("linear", "given"), INPUTS.values(), ids=INPUTS)
def test_a_layer_is_near_the_one_it_stands_for(linear: nn.Linear, given: torch.Tensor, levels: int) -> None:
    with torch.inference_mode():
        expected, got = linear(given), packed(linear, levels)(given)
    assert got.shape == expected.shape
    # Half a step of each factor, in each of the products that are added up.
    weights = linear.weight.abs()
    step = (given.amax(-1, keepdim=True) - given.amin(-1, keepdim=True)) / int8.STEPS / 2
    bound = step * weights.sum(1) + (given.abs() + step).sum(-1, keepdim=True) * weights.amax(1) / levels / 2
    assert ((got - expected).abs() <= bound * 1.02 + 1e-6).all()


@pytest.mark.parametrize("levels", LEVELS)
def test_the_largest_products_do_not_overflow(levels: int) -> None:
    linear, given = nn.Linear(512, 8, bias=False), torch.ones(3, 512)
    nn.init.ones_(linear.weight)
    given[:, ::4] = 0
    with torch.inference_mode():
        for sign in (1.0, -1.0):
            assert torch.allclose(packed(linear, levels)(given * sign), torch.full((3, 8), 384 * sign))


def test_what_adds_up_in_16_bits_is_found_out_and_not_believed() -> None:
    code = "from providers.local import int8; print(int8.adds_in_32_bits())"
    held = os.environ | {"FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}
    assert subprocess.run([sys.executable, "-c", code], env=held, capture_output=True).stdout == b"False\n"


def test_what_adds_up_in_32_bits_is_found_out() -> None:
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not told.get("avx512_vnni") or "FBGEMM_ENABLE_INSTRUCTIONS" in os.environ:
        pytest.skip("this processor has no VNNI, or FBGEMM is kept from it")
    assert adds_in_32_bits()


def test_a_row_is_computed_alike_in_any_company() -> None:
    linear, given = packed(layer(), LEVELS[-1]), torch.cat([rows(9, 96), rows(1, 96, spread=1000.0)])
    with torch.inference_mode():
        together = linear(given)
        assert all(torch.equal(linear(row[None])[0], whole) for row, whole in zip(given, together, strict=True))


MODELS = {"BERT": bert, "XLM-RoBERTa": xlm_roberta, "ModernBERT": modernbert, "Qwen3": qwen, "embeddings": embedder}


@pytest.mark.parametrize("maker", MODELS.values(), ids=MODELS)
async def test_scores_are_near_those_of_float32_and_do_not_depend_on_the_batch(build: Build, maker: Any) -> None:
    folder, settings = build(maker), {"vector_cache_bytes": 0} if maker is embedder else {}
    async with engine(folder) as exact, engine(folder, dtype="int8", **settings) as backend:
        expected, ranking = await exact.rerank(request()), await backend.rerank(request())
        alone = [scores(await backend.rerank(request(documents=[text])))[0] for text in request().documents[:6]]
    assert scores(ranking) == pytest.approx(scores(expected), abs=0.05)
    assert scores(ranking) != scores(expected)
    assert np.abs(np.subtract(alone, scores(ranking)[:6])).max() < 5e-3


def test_the_blocks_are_quantised_and_what_makes_the_score_is_not(build: Build) -> None:
    net = load(LocalModel(name="m", path=str(build(bert)), device="cpu", dtype="int8")).net
    left = [name for name, module in net.named_modules() if type(module) is nn.Linear]
    assert left == ["0.model.bert.pooler.dense", "0.model.classifier"]
    assert sum(isinstance(module, Int8Linear) for module in net.modules()) == 2 * 6


def test_a_processor_without_the_products_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "ENGINE", "of another world")
    with pytest.raises(NotReady, match="`dtype: int8` needs an x86 processor; configure another"):
        load(LocalModel(name="m", path=str(build(bert)), device="cpu", dtype="int8"))
