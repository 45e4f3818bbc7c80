"""The scripts, in the shells themselves: what is typed, a press of the tab key, and what the shell then runs.

fish is asked what it would offer: it wants a terminal of its own to be typed into.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.__main__ import main

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SETUP = {
    "bash": 'source completion; rerank-gateway() { echo "RAN:$*:"; }',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(cat completion)"; rerank-gateway() { echo "RAN:$*:"; }',
}
SECONDS = 30.0
"""Never waited for unless a shell is stuck."""


class Shell:
    """A shell on a terminal of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self._terminal, inner = pty.openpty()
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            SHELLS[name], stdin=inner, stdout=inner, stderr=inner, cwd=folder, env=environ, start_new_session=True
        )
        os.close(inner)
        self.type(f"{SETUP[name]}\n")
        self.type("rerank-gateway started\n")
        self.wait_for(r"RAN:(started):")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, pattern: str) -> str:
        seen = ""
        while not (found := re.search(pattern, seen)):
            assert select.select([self._terminal], [], [], SECONDS)[0], seen
            seen += os.read(self._terminal, 4096).decode(errors="replace")
        return found[1]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


def folder_with_script(shell: str, factory: pytest.TempPathFactory) -> Path:
    """Holds the shell's script as `completion`, and a file to complete."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    folder = factory.mktemp("shell")
    (folder / "gateway.yaml").touch()
    with (folder / "completion").open("w", encoding="utf-8") as script, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", script)
        assert main(["completion", shell]) == 0
    return folder


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    opened = Shell(request.param, folder_with_script(request.param, tmp_path_factory))
    yield opened
    opened.close()


TYPED = {
    "a command": ("ver", "version"),
    "a command of a command": ("keys ne", "keys new"),
    "an option": ("serve --conf", "serve --config"),
    "a value": ("completion fi", "completion fish"),
    "a file": ("serve --config gatew", "serve --config gateway.yaml"),
    "an option after others": ("rerank --json --top", "rerank --json --top-n"),
}


@pytest.mark.parametrize(("typed", "ran"), TYPED.values(), ids=TYPED)
def test_the_tab_key_completes(typed: str, ran: str, shell: Shell) -> None:
    shell.type(f"rerank-gateway {typed}\t\n")
    assert shell.wait_for(r"RAN:([^$\"]*?) ?:") == ran


@pytest.mark.parametrize(("typed", "ran"), TYPED.values(), ids=TYPED)
def test_fish_offers_the_same(typed: str, ran: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = folder_with_script("fish", tmp_path_factory)
    ask = f"source completion; complete -C 'rerank-gateway {typed}'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], cwd=folder, capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [ran.split()[-1]]
