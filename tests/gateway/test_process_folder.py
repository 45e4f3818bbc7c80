"""Folders of gateways that were killed are removed by the next start, and no others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.process_folder import LOCK, PREFIX, process_folder, try_lock

OWNER = """
import sys
from gateway.process_folder import process_folder
with process_folder("engine-") as folder:
    (folder / "held-targets.json").write_text("{}")
    print(folder, flush=True)
    sys.stdin.read()
"""
Owner = tuple["subprocess.Popen[str]", Path]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[[], Owner]]:
    """Start a process that owns a folder."""
    with ExitStack() as stack:

        def start_owner() -> Owner:
            command = [sys.executable, "-c", OWNER]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, Path(process.stdout.readline().strip())

        yield start_owner


def test_the_folder_of_a_killed_owner_goes_with_the_next_start(start: Callable[[], Owner], temporary: Path) -> None:
    (killed, left), (_, alive) = start(), start()
    killed.kill()
    killed.wait()
    assert left.is_dir()
    with process_folder() as mine:
        assert set(temporary.iterdir()) == {mine, alive}
    assert set(temporary.iterdir()) == {alive}


def test_a_folder_is_kept_while_a_worker_of_a_killed_owner_finishes(start: Callable[[], Owner]) -> None:
    killed, left = start()
    killed.kill()
    killed.wait()
    with (left / "0.cells").open("ab") as file:
        assert try_lock(file)
        with process_folder():
            assert left.is_dir()
    with process_folder():
        assert not left.exists()


def test_what_is_no_folder_of_a_gateway_stays(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere, target_is_directory=True)
    (temporary / f"{PREFIX}file").touch()
    (temporary / f"{PREFIX}being-made").mkdir()
    (temporary / "another").mkdir()
    (temporary / "another" / LOCK).touch()
    before = set(temporary.rglob("*"))
    with process_folder():
        pass
    assert set(temporary.rglob("*")) == before


def test_another_users_folder_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = temporary / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / LOCK).touch()
    uid = theirs.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: uid + 1)
    with process_folder():
        assert theirs.exists()


def test_the_lock_is_there_from_the_first_moment_and_no_sooner() -> None:
    with process_folder() as folder:
        assert [path.name for path in folder.iterdir()] == [LOCK]
        with (folder / LOCK).open("rb") as file:
            assert not try_lock(file)
    assert not folder.exists()
