"""The built-in cross-encoder scores as ONNX Runtime does with the file that it was made from: `make test-onnxruntime`.

ONNX Runtime rounds the input of every linear layer to 8 bits as well, which the engine does not. So two things are
compared with it: the engine with the same rounding put in, which must agree almost to the letter, and the engine as it
is, which may differ by what that rounding does and no more.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from providers.local.builtin.catalogue import CROSS_ENCODER
from providers.local.engine import TextRequest
from providers.local.loading import load
from providers.local.tokens import Tokens
from providers.spec import LocalModel

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-onnxruntime"

QUERIES = [
    "How many people live in Berlin?",
    "what is the boiling point of water at high altitude",
    "who wrote The Old Man and the Sea",
    "does aspirin thin the blood?",
    "python read a file line by line",
]
DOCUMENTS = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "At 3,000 metres above the sea water boils at about 90 degrees, since the pressure of the air is lower there.",
    "The Old Man and the Sea is a novella by Ernest Hemingway, written in 1951 in Cuba and published in 1952.",
    "Aspirin keeps blood platelets from clumping together, which is why doctors call it a blood thinner. " * 6,
    "with open(name) as file:\n    for line in file:\n        print(line)",
    "Horses eat grass.",
    "",
]

MEDIAN_DIFFERENCE = 0.02
"""Between logits with the same rounding. A value on the border between two of the 256 steps may fall on either side,
which moves a few scores by more: so the median is compared, and the mean with what the rounding itself does."""


def round_to_8_bits(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What goes into a linear layer, as DynamicQuantizeLinear leaves it.

    Source: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html (2026-11)
    """
    (values,) = inputs
    low, high = min(0.0, values.min().item()), max(0.0, values.max().item())
    scale = np.float32(np.float32(high - low) / np.float32(255)) or np.float32(1)
    zero_point = float(np.clip(np.rint(np.float32(-low) / scale), 0, 255))
    steps = torch.clamp(torch.round(values / scale) + zero_point, 0, 255)
    return ((steps - zero_point) * scale,)


@pytest.fixture(scope="module")
def logits(cross_encoder: LocalModel) -> dict[str, np.ndarray[Any, Any]]:
    """The logits of all pairs: of the engine, of the engine with rounding, of ONNX Runtime."""
    wheel = next(ENVIRONMENT.glob("wheel/*.whl"), None)
    if wheel is None:
        pytest.skip(
            "ONNX Runtime is not here; `make test-onnxruntime` fetches it where the package index can be reached"
        )
    model = load(cross_encoder)
    pairs = [text for query in QUERIES for text in encoded(model, query)]
    found = {"engine": forward(model, pairs), "onnxruntime": onnxruntime(wheel, pairs)}
    for module in model.net.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(round_to_8_bits)
    return {**found, "rounded": forward(model, pairs)}


def encoded(model: Any, query: str) -> list[Tokens]:
    request = TextRequest(query, DOCUMENTS, None, None, 0)
    return list(model.encode(request, lambda: None).inputs)


def forward(model: Any, pairs: list[Tokens]) -> np.ndarray[Any, Any]:
    """Each pair by itself, as on the other side."""
    return np.array([model.collect(model.launch([pair]))[0][0] for pair in pairs])


def onnxruntime(wheel: Path, pairs: list[Tokens]) -> np.ndarray[Any, Any]:
    assert CROSS_ENCODER.source is not None
    with zipfile.ZipFile(wheel) as archive:
        file = archive.extract(CROSS_ENCODER.source.graph, ENVIRONMENT / "wheel")
    command = [ENVIRONMENT / "bin" / "python", HERE / "score.py", file]
    body = json.dumps([{"ids": pair.ids, "types": pair.types} for pair in pairs])
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=True, timeout=110, env=environ)
    return np.array(json.loads(done.stdout))


def test_with_the_same_rounding_the_scores_are_the_same(logits: dict[str, np.ndarray[Any, Any]]) -> None:
    difference = np.abs(logits["rounded"] - logits["onnxruntime"])
    print(
        f"\n{len(difference)} pairs, logits from {logits['engine'].min():.1f} to {logits['engine'].max():.1f}\n"
        f"engine with that rounding and ONNX Runtime differ by {described(difference)}"
    )
    assert np.median(difference) < MEDIAN_DIFFERENCE
    assert difference.mean() < np.abs(logits["engine"] - logits["rounded"]).mean() / 2


def test_without_it_they_differ_by_the_rounding(logits: dict[str, np.ndarray[Any, Any]]) -> None:
    rounding = np.abs(logits["engine"] - logits["rounded"])
    difference = np.abs(logits["engine"] - logits["onnxruntime"])
    correlation = np.corrcoef(logits["engine"], logits["onnxruntime"])[0, 1]
    print(f"\nthe rounding alone moves the engine's logits by {described(rounding)}")
    print(f"engine and ONNX Runtime differ by {described(difference)}; r {correlation:.5f}")
    assert difference.mean() < 1.5 * rounding.mean()
    assert correlation > 0.998


def described(differences: np.ndarray[Any, Any]) -> str:
    return f"{np.median(differences):.4f} (median), {differences.mean():.4f} (mean), {differences.max():.4f} (largest)"
