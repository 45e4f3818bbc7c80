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
from gateway.errors import (
    ConfigError,
    Limited,
    ModelNotAllowed,
    NotAdmin,
    PriceUnknown,
    StoreDown,
    Unauthorized,
)
from providers import registry
from providers.capabilities import resolve
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


def statuses_by_code() -> dict[str, set[int]]:
    """What callers may get for each code."""
    statuses: dict[str, set[int]] = {}
    for kind in kinds_of_error():
        nearest = next(base for base in kind.__mro__ if base in STATUS)
        passed = set().union(*(found for base, found in PASSED_THROUGH.items() if issubclass(kind, base)))
        statuses.setdefault(kind.code, set()).update({STATUS[nearest], *passed})
    return statuses


def told_statuses(page: str) -> set[tuple[int, str]]:
    """The statuses and codes of a page's table of answers."""
    rows = re.findall(r"^\| (\d{3}) ((?:`\w+`(?:, )?)+)", (ROOT / "docs" / page).read_text(), re.M)
    return {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


@pytest.mark.parametrize("page", ["troubleshooting.md", "access.md"])
def test_a_page_names_the_statuses_that_callers_get(page: str) -> None:
    statuses = statuses_by_code()
    told = told_statuses(page)
    assert told
    assert {(status, code) for status, code in told if status not in statuses.get(code, set())} == set()


NEVER_ANSWERED = {"target_error", "breaker_open"}
"""Only the base of others, and what is in the list of attempts: a target with an open breaker is asked after all."""


def test_troubleshooting_leaves_out_no_error() -> None:
    assert {code for _, code in told_statuses("troubleshooting.md")} == statuses_by_code().keys() - NEVER_ANSWERED
    assert status_of(RerankError("x")) == 500


def test_access_leaves_out_nothing_about_keys_and_limits() -> None:
    kinds = (Unauthorized, ModelNotAllowed, NotAdmin, PriceUnknown, *Limited.__subclasses__(), StoreDown)
    assert {code for _, code in told_statuses("access.md")} == {kind.code for kind in kinds}


def test_the_kinds_of_scores_are_those_that_the_adapters_declare() -> None:
    rows = re.findall(r"^\| (probability|calibrated|logit|cosine|unknown) \|.*$", CHOOSING, re.M)
    declared = {
        (line.split(" | ")[0].strip("| "), name)
        for line in CHOOSING.splitlines()
        if line.startswith(tuple(f"| {kind} |" for kind in rows))
        for name in re.findall(r"`([a-z]+/[^`]+)`", line)
        if not name.startswith("local/")  # What a model in the process gives, its files say.
    }
    assert rows == ["probability", "calibrated", "logit", "cosine", "unknown"]
    assert len(declared) > 8
    assert {(kind, name) for kind, name in declared if score_space(name) != kind} == set()


CHOOSING = (ROOT / "docs/choosing-a-reranker.md").read_text(encoding="utf-8")


def score_space(name: str) -> str:
    provider, model = name.split("/", 1)
    return resolve(model, registry.find(provider).capabilities).score_space


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+)\.md\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {page.stem for page in PAGES if page.parent.name == "docs"} == linked


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


def test_the_page_installs_models_where_the_unit_looks() -> None:
    (folder,) = re.findall(r"^Environment=(RERANK_GATEWAY_MODELS=\S+)$", UNIT.read_text(), re.M)
    assert f"# {folder} .venv/bin/rerank-gateway models install " in (ROOT / "docs/deployment.md").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here to verify the unit")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/rerank-gateway/.venv/bin/rerank-gateway", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    run = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert UNIT.name not in run.stderr
    assert run.returncode == 0, run.stderr
