"""The models that come with the gateway: fetched by hash, converted without a change, whole or not there at all."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import load_file
from tiny_models import DOCUMENTS, engine, request, scores
from tiny_wheel import (
    NAME,
    TinyWheel,
    field,
    linear,
    node,
    onnx_file,
    source_of,
    tensor,
    varint,
    write_wheel,
)

from providers.errors import NotReady
from providers.local.builtin import bert, catalogue, quantized, store
from providers.local.builtin import install as installing
from providers.local.builtin.catalogue import CROSS_ENCODER, EMBEDDING_MODEL
from providers.local.builtin.install import convert, install
from providers.local.builtin.onnx_file import read_graph
from providers.local.source import PACKAGE, built_in_models, fetch, local_folder, problems
from providers.spec import LocalModel

CARD = [
    (
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        9.22,
    ),
    ("Berlin is well known for its museums.", -4.08),
]
"""The pairs of the model's card with their scores: https://huggingface.co/cross-encoder/ms-marco-MiniLM-L12-v2"""


def said(sentence: str) -> None:
    """Hears what goes on, and forgets it."""


def contents(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != ".lock") if root.is_dir() else []


class TestTheCrossEncoder:
    """The real one, where it is installed."""

    async def test_scores_the_pairs_of_its_card(self, cross_encoder: LocalModel) -> None:
        async with engine(cross_encoder.path, sha256=cross_encoder.sha256) as model:
            ranking = await model.rerank(request("How many people live in Berlin?", [text for text, _ in CARD]))
        assert scores(ranking) == pytest.approx([score for _, score in CARD], abs=0.2)

    def test_is_what_the_catalogue_says(self, cross_encoder: LocalModel) -> None:
        folder = Path(cross_encoder.path)
        assert store.damage(folder, CROSS_ENCODER) == []
        assert sum(file.stat().st_size for file in folder.iterdir()) == CROSS_ENCODER.size
        assert CROSS_ENCODER.files["model.safetensors"] == CROSS_ENCODER.sha256
        assert "cross-encoder/ms-marco-MiniLM-L-12-v2      Apache-2.0" in (folder / "NOTICE").read_text()
        assert "Apache License" in (folder / "LICENSE").read_text()


class TestConversion:
    async def test_the_scores_are_those_of_the_weights_multiplied_out(
        self, tiny_wheel: TinyWheel, models_folder: Path
    ) -> None:
        assert install(tiny_wheel.model, said)
        raw = {"activation": "none", "dtype": "float32"}
        async with engine(f"installed:{NAME}", **raw) as installed, engine(tiny_wheel.reference, **raw) as reference:
            ours, expected = [await each.rerank(request()) for each in (installed, reference)]
        assert scores(ours) == pytest.approx(scores(expected), abs=1e-6)
        assert len(set(scores(ours))) > len(DOCUMENTS) // 2

    def test_the_file_is_one_that_safetensors_reads(self, tmp_path: Path) -> None:
        tensors = {
            "a": np.arange(6, dtype=np.int8).reshape(2, 3),
            "a.scale": np.array(0.5, np.float32),
            "b": np.arange(3, dtype=np.uint8),
            "c": np.ones((2, 2), np.float32),
            "none": np.zeros((0, 4), np.float32),
        }
        quantized.write(tmp_path / "one", tensors)
        quantized.write(tmp_path / "other", dict(reversed(tensors.items())))
        read = load_file(tmp_path / "one")
        assert set(read) == set(tensors)
        assert all((read[name] == value).all() and read[name].dtype == value.dtype for name, value in tensors.items())
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()

    def test_the_file_cannot_hold_other_types(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="float64"):
            quantized.write(tmp_path / "file", {"a": np.zeros(2)})

    def test_values_may_stand_in_the_field_of_their_type(self) -> None:
        floats = field(1, 2) + field(2, 1) + field(4, np.array([1.5, -2], "<f4").tobytes()) + field(8, b"f")
        packed = field(1, varint(3)) + field(2, 3) + field(5, b"".join(map(varint, (1, 2, 127)))) + field(8, b"i")
        other = field(1, 1) + field(2, 10) + field(9, b"\0\0") + field(8, b"float16 is not read")
        graph = read_graph(onnx_file([], [floats, packed, other]))
        assert {name: value.tolist() for name, value in graph.tensors.items()} == {"f": [1.5, -2], "i": [1, 2, 127]}

    def test_a_file_that_is_cut_anywhere_is_refused(self) -> None:
        whole = onnx_file([node("Add", ["a"], ["b"])], [tensor("t", np.ones(3, np.float32))])
        assert read_graph(whole).tensors["t"].tolist() == [1, 1, 1]
        # The graph ends two bytes and a field before the file does.
        for size in range(len(whole) - len(field(8, field(2, 14)))):
            with pytest.raises(ValueError, match="ONNX file"):
                read_graph(whole[:size])


SCALE = [tensor("w_scale", np.array(1, np.float32)), tensor("w_zero_point", np.array(0, np.int8))]
WEIGHT = tensor("w_quantized", np.ones((2, 2), np.int8))
BIAS = tensor("a.bias", np.ones(2, np.float32))

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "holds no graph"),
    "not ONNX": (b"%PDF-1.7 and so on", "ONNX file"),
    "no tensors": (onnx_file([], []), "no quantised weights"),
    "weights that were not quantised": (onnx_file([], [BIAS]), "no quantised weights"),
    "a product without a bias": (
        onnx_file([node("MatMulInteger", ["x", "w_quantized"], ["y"])], [WEIGHT, *SCALE, BIAS]),
        "no bias is added to y",
    ),
    "two layers with one bias": (
        onnx_file([*linear("a.weight", "w"), *linear("a.weight", "w")], [WEIGHT, *SCALE, BIAS]),
        'two tensors for "a.weight"',
    ),
    "no scale": (onnx_file([*linear("a.weight", "w")], [WEIGHT, BIAS]), "no single scale"),
    "a scale for each row": (
        onnx_file([*linear("a.weight", "w")], [WEIGHT, BIAS, tensor("w_scale", np.ones(2, np.float32)), SCALE[1]]),
        "no single scale",
    ),
    "another kind of model": (onnx_file([*linear("a.weight", "w")], [WEIGHT, *SCALE, BIAS]), "not that of a BERT"),
    "fewer values than its shape": (
        onnx_file([], [field(1, 4) + field(2, 1) + field(8, b"t") + field(9, b"\0" * 8)]),
        "2 values for the shape",
    ),
    "half a value": (onnx_file([], [field(1, 1) + field(2, 1) + field(8, b"t") + field(9, b"\0" * 3)]), "buffer size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_graph_is_refused(case: str, tmp_path: Path) -> None:
    content, reason = REFUSED[case]
    write_wheel(tmp_path / "wheel", {"tiny/model.onnx": content})
    with pytest.raises(NotReady, match=rf"tiny==1.0 does not hold the model as it should: .*{reason}"):
        convert(tmp_path / "wheel", source_of(tmp_path / "wheel", copies={}), tmp_path)


def of_source(model: Any, **changes: Any) -> Any:
    return replace(model, source=replace(model.source, **changes))


def without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1 << 20))


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, tensors: Any) -> None:
        path.write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(quantized, "write", write)


def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", f"{sys.executable}: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


Change = Callable[[Any], Any]
FAILURES: dict[str, tuple[Change, Callable[[pytest.MonkeyPatch], None], str]] = {
    "the index is away": (
        lambda m: m,
        lambda p: p.delenv("PIP_FIND_LINKS"),
        "pip could not fetch tiny==1.0: .*cannot be reached",
    ),
    "the index has another version": (
        lambda m: of_source(m, requirement="tiny==2.0"),
        lambda p: None,
        r"pip could not fetch tiny==2.0: .*from versions: 1.0",
    ),
    "the wheel is another": (
        lambda m: of_source(m, sha256="0" * 64),
        lambda p: None,
        r"pip could not fetch tiny==1.0: .*(?i:hashes)",
    ),
    "pip is away": (lambda m: m, without_pip, "has no pip; run: .* -m ensurepip"),
    "the wheel lacks the graph": (
        lambda m: of_source(m, graph="tiny/other.onnx"),
        lambda p: None,
        "does not hold the model as it should: .*other.onnx",
    ),
    "the wheel lacks the licence": (
        lambda m: of_source(m, copies={"LICENSE": "tiny/LICENSE"}),
        lambda p: None,
        "does not hold the model as it should: .*LICENSE",
    ),
    "the result is another": (
        lambda m: replace(m, files={**m.files, "model.safetensors": "0" * 64}),
        lambda p: None,
        "what became of tiny is not what is known of it: model.safetensors is not the file",
    ),
    "there is no room": (lambda m: m, without_room, "only 1 MiB are free in .*; make room"),
    "the disk fills up": (lambda m: m, full_disk, "No space left on device"),
}


@pytest.mark.parametrize("before", ["nothing there", "a damaged one there"])
@pytest.mark.parametrize("case", FAILURES)
def test_an_installation_that_fails_changes_nothing(
    case: str, before: str, tiny_wheel: TinyWheel, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, spoil, reason = FAILURES[case]
    if before == "a damaged one there":
        (models_folder / NAME).mkdir(parents=True)
        (models_folder / NAME / "config.json").write_text("{}")
    there = contents(models_folder)
    spoil(monkeypatch)
    with pytest.raises((NotReady, OSError), match=rf"(?s){reason}"):
        install(change(tiny_wheel.model), said)
    assert contents(models_folder) == there
    assert not (models_folder / NAME / "model.safetensors").exists()


class TestInstallation:
    def test_nothing_of_the_package_is_run_and_nothing_else_is_left(
        self, tiny_wheel: TinyWheel, models_folder: Path
    ) -> None:
        heard: list[str] = []
        assert install(tiny_wheel.model, heard.append)
        assert contents(models_folder) == [NAME]
        assert contents(models_folder / NAME) == sorted(tiny_wheel.model.files)
        assert heard == ["Fetching tiny==1.0 (0 MB) through pip."]

    def test_a_second_time_nothing_is_fetched(
        self, tiny_wheel: TinyWheel, models_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert install(tiny_wheel.model, said)
        monkeypatch.delenv("PIP_FIND_LINKS")
        assert not install(tiny_wheel.model, said)

    def test_several_at_once_do_the_work_once(
        self, tiny_wheel: TinyWheel, models_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        downloads, download = [], installing.download
        monkeypatch.setattr(installing, "download", lambda *given: downloads.append(1) or download(*given))
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: install(tiny_wheel.model, said), range(4)))
        assert sorted(done) == [False, False, False, True]
        assert downloads == [1]
        assert store.damage(models_folder / NAME, tiny_wheel.model) == []

    def test_what_a_killed_one_left_is_removed(self, tiny_wheel: TinyWheel, models_folder: Path) -> None:
        (models_folder / ".work-abc" / "ready").mkdir(parents=True)
        (models_folder / ".work-abc" / "half.whl").write_bytes(b"half")
        assert install(tiny_wheel.model, said)
        assert contents(models_folder) == [NAME]

    def test_a_folder_that_cannot_be_made_is_named(
        self, tiny_wheel: TinyWheel, models_folder: Path, tmp_path: Path
    ) -> None:
        models_folder.write_text("a file where the folder should be")
        with pytest.raises(
            NotReady, match=r"the folder of models, .*models, cannot be written: .*RERANK_GATEWAY_MODELS"
        ):
            install(tiny_wheel.model, said)

    def test_one_that_a_package_carries_is_not_installed(self, models_folder: Path) -> None:
        with pytest.raises(NotReady, match="is part of the local engine"):
            install(EMBEDDING_MODEL, said)


def spoil_weights(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of the weights": (spoil_weights, "model.safetensors is not the file that belongs there"),
    "weights cut short": (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors is not the file"),
    "another tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json is not the file"),
    "a file too many": (lambda f: (f / "modules.json").write_text("[]"), "modules.json does not belong there"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_model_is_not_served_and_installing_mends_it(
    case: str, tiny_wheel: TinyWheel, models_folder: Path
) -> None:
    spoil, reason = DAMAGE[case]
    install(tiny_wheel.model, said)
    model = LocalModel(name="m", path=f"installed:{NAME}")
    assert fetch(model) == models_folder / NAME
    spoil(models_folder / NAME)
    with pytest.raises(NotReady, match=rf"damaged: {reason}.*; run: rerank-gateway models install {NAME}"):
        fetch(model)
    assert install(tiny_wheel.model, said)
    assert fetch(model) == models_folder / NAME


class TestPaths:
    def test_a_model_that_is_not_there_has_a_command(self, models_folder: Path) -> None:
        (problem,) = problems(LocalModel(name="m", path=f"installed:{NAME}"))
        assert problem == f'the model "{NAME}" is not installed here; run: rerank-gateway models install {NAME}'

    def test_half_a_model_is_not_there(self, tiny_wheel: TinyWheel, models_folder: Path) -> None:
        install(tiny_wheel.model, said)
        assert NAME in [model.name for model in built_in_models()]
        (models_folder / NAME / "tokenizer.json").unlink()
        assert NAME not in [model.name for model in built_in_models()]

    def test_a_name_that_nobody_knows_is_told_the_known_ones(self, models_folder: Path) -> None:
        for name in ("other", "", "../tiny", f"{NAME}/.."):
            with pytest.raises(NotReady, match="none of the models that come with the gateway: tiny, ms-marco"):
                local_folder(f"installed:{name}")

    def test_a_model_of_a_package_has_the_package_s_path(self, models_folder: Path) -> None:
        with pytest.raises(NotReady, match=rf"its path is \"{PACKAGE}"):
            local_folder(f"installed:{EMBEDDING_MODEL.name}")

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            pytest.param({store.FOLDER_VARIABLE: "/models"}, "/models", id="named"),
            pytest.param({"XDG_DATA_HOME": "/data"}, "/data/rerank-gateway/models", id="the user's data"),
            pytest.param({"XDG_DATA_HOME": "data"}, "/home/x/.local/share/rerank-gateway/models", id="a relative one"),
            pytest.param({}, "/home/x/.local/share/rerank-gateway/models", id="nothing set"),
        ],
    )
    def test_the_folder(self, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (store.FOLDER_VARIABLE, "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"HOME": "/home/x", **environ}.items():
            monkeypatch.setenv(name, value)
        assert store.root() == Path(expected)


class TestRemoval:
    def test_the_folder_is_gone(self, tiny_wheel: TinyWheel, models_folder: Path) -> None:
        install(tiny_wheel.model, said)
        assert store.remove(NAME)
        assert contents(models_folder) == []
        assert not store.remove(NAME)

    def test_one_that_a_package_carries_stays(self, models_folder: Path) -> None:
        with pytest.raises(NotReady, match="part of a package"):
            store.remove(EMBEDDING_MODEL.name)


def test_every_entry_of_the_catalogue_is_whole() -> None:
    for model in catalogue.MODELS:
        assert (model.source is None) == model.path.startswith(PACKAGE) == (not model.files)
        source = model.source
        written = {*source.copies, "config.json", "README.md", "model.safetensors"} if source else set()
        assert set(model.files) == written


def test_the_head_count_is_all_that_the_shapes_do_not_tell(tiny_wheel: TinyWheel) -> None:
    config = bert.config_of(load_file(tiny_wheel.reference / "model.safetensors"), 4)
    shape = {name: config[name] for name in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    assert shape == {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
