"""The pages work as written: their configurations load, their commands are ones that exist, what they name is there."""

from __future__ import annotations

import argparse
import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import parser
from gateway.api.error_status import PASSED_THROUGH, STATUS, status_of
from gateway.capacity import demand as demands
from gateway.config.loader import load
from gateway.config.server import ServerSettings
from gateway.errors import ConfigError
from providers.errors import RerankError

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^ *```$", re.M | re.S)
ENVIRON = dict.fromkeys(("COHERE_API_KEY", "JINA_API_KEY", "VOYAGE_API_KEY"), "a-key")


def blocks(*languages: str) -> Iterator[Any]:
    """The code blocks in these languages, each with a name for the test."""
    for page in PAGES:
        found = BLOCK.findall(page.read_text(encoding="utf-8"))
        for number, (_, language, info, text) in enumerate(found):
            if language in languages:
                yield pytest.param(text, info.strip(), id=f"{page.name}-{number}")


def test_the_pages_have_blocks_of_each_kind() -> None:
    kinds = (("yaml",), 15), (("sh", "console"), 25), (("python",), 20)
    assert [kind for kind, least in kinds if len(list(blocks(*kind))) < least] == []


NOT_OURS = {"values.yaml"}
"""Of the Helm chart; tests/deploy has a look at them."""
ELSEWHERE = re.compile(r"cannot be read: No such file|the folder \"/srv/models/bge\" does not exist")
"""Files of the reader's own: certificates, models."""
INVENTED = {'adapter: "marmot"', "marmot:"}


def problems_of(file: Path, variables: dict[str, str]) -> list[str]:
    try:
        load(file, {**ENVIRON, **variables})
    except ConfigError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(("text", "info"), list(blocks("yaml")))
def test_a_configuration_loads(text: str, info: str, tmp_path: Path) -> None:
    if "traffic.yaml" in info:
        demands.parse(yaml.safe_load(text))
        return
    if any(name in info for name in NOT_OURS) or any(name in text for name in INVENTED):
        assert yaml.safe_load(text)
        return
    file = tmp_path / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    names = re.findall(r"\$\{(\w+)", text)
    variables = {name: "redis://127.0.0.1" if name.endswith("URL") else "a-value-of-some-length" for name in names}
    assert [problem for problem in problems_of(file, variables) if not ELSEWHERE.search(problem)] == []


def commands() -> Iterator[Any]:
    for block in blocks("sh", "console"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            ours = re.search(r"(?:^|[|;] ?|\s)(?:\S*/)?rerank-gateway ((?!\.)[^|<>;&]+)", line.partition(" #")[0])
            if ours and not re.search(r"\b(docker|systemctl|cp|helm|kubectl)\b", line):
                yield pytest.param(ours[1], id=f"{block.id}: {ours[1].strip()}"[:90])


def status_of_parsing(arguments: list[str]) -> Any:
    """0 for what is taken; `--help` too ends with that."""
    try:
        parser().parse_args(arguments)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("arguments", list(commands()))
def test_a_command_exists_with_its_options(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of_parsing(shlex.split(arguments)) == 0, capsys.readouterr().err


def test_commands_are_found() -> None:
    found = {argument.values[0].split()[0] for argument in commands()}
    (subcommands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert found == set(subcommands.choices) - {"providers"} | found & {"providers"}


@pytest.mark.parametrize(("text", "info"), list(blocks("python")))
def test_python_compiles(text: str, info: str) -> None:
    compile(text, info or "block", "exec")


def kinds_of_error() -> Iterator[type[RerankError]]:
    todo = [RerankError]
    while todo:
        kind = todo.pop()
        yield kind
        todo += kind.__subclasses__()


def test_troubleshooting_names_the_statuses_that_callers_get() -> None:
    told = re.findall(r"^\| (\d{3}) ((?:`\w+`(?:, )?)+)", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    statuses: dict[str, set[int]] = {}
    for kind in kinds_of_error():
        nearest = next(base for base in kind.__mro__ if base in STATUS)
        passed = set().union(*(found for base, found in PASSED_THROUGH.items() if issubclass(kind, base)))
        statuses.setdefault(kind.code, set()).update({STATUS[nearest], *passed})
    wrong = {
        (status, code)
        for status, codes in told
        for code in re.findall(r"`(\w+)`", codes)
        if int(status) not in statuses.get(code, set())
    }
    assert len(told) > 12
    assert wrong == set()
    assert status_of(RerankError("x")) == 500


def test_every_page_is_on_the_site_and_in_the_text_for_machines() -> None:
    ours = {f"docs/{page.stem}" for page in PAGES if page.parent.name == "docs"}
    pages = ours | {"README", "CHANGELOG", "CONTRIBUTING", "docs/decisions/README"}
    index = set(re.findall(r"^((?:docs/)?[\w/-]+)$", (ROOT / ".ci/site/index.md").read_text(), re.M))
    machines = set(re.findall(r"\]\(((?:docs/)?[\w/-]+)\.html\)", (ROOT / "docs/llms.txt").read_text()))
    assert pages <= index
    assert machines == pages


UNIT = ROOT / "deploy/systemd/rerank-gateway.service"


class _Options(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit() -> dict[str, str]:
    options = _Options(strict=False)
    options.read(UNIT)
    return dict(options["Service"])


def test_the_unit_lets_requests_finish() -> None:
    service = unit()
    defaults = ServerSettings()
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > defaults.drain + defaults.shutdown_timeout
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/.venv/bin/rerank-gateway")
    assert arguments[0] == "serve"
    assert status_of_parsing(arguments) == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here to verify the unit")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/rerank-gateway/.venv/bin/rerank-gateway", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    run = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert UNIT.name not in run.stderr
    assert run.returncode == 0, run.stderr
