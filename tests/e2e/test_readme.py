"""The README works as written: its commands are taken out of the page and run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import loader as config
from providers.local.builtin import store
from providers.local.builtin.catalogue import CROSS_ENCODER, EMBEDDING_MODEL
from tests import installed_models

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = {store.FOLDER_VARIABLE: str(installed_models.FOLDER)}
if not installed_models.HAS_CROSS_ENCODER:
    # Then the other model is what a newcomer has, and the page says so.
    PAGE = PAGE.replace(f"local/{CROSS_ENCODER.name}", f"local/{EMBEDDING_MODEL.name}")
SHELL: list[str] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
FILES: dict[str, str] = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.M | re.S))
COMMAND = shlex.join([sys.executable, "-m", "gateway"])


def block(text: str) -> str:
    """The one shell block that holds the text."""
    (found,) = [block for block in SHELL if text in block]
    return found


def shell(text: str, cwd: Path, url: str = "") -> str:
    """What a block prints; the gateway is the one of the tests, the command the one of this tree."""
    text = text.replace("http://127.0.0.1:8080", url).replace(".venv/bin/rerank-gateway ", COMMAND + " ")
    environ = {**os.environ, **MODELS, "PYTHONPATH": str(ROOT), "COHERE_API_KEY": "a-key"}
    done = subprocess.run(
        ["bash", "-ec", text], cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_command_is_the_whole_start() -> None:
    assert SHELL[0] == "make serve\n"
    assert re.search(r"^serve:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def newcomer(start_gateway) -> str:
    """The URL of a gateway as `make serve` starts it, with the models that are installed on this machine."""
    process = start_gateway(yaml.safe_load((ROOT / "config" / "gateway.yaml").read_text()), environ=MODELS)
    process.wait_until_ready()
    return process.url


@pytest.mark.skipif(not installed_models.HAS_CROSS_ENCODER, reason=f"{CROSS_ENCODER.name} is not installed")
def test_the_line_to_paste_gives_the_answer_that_is_shown(newcomer, tmp_path) -> None:
    reply = json.loads(shell(block('"top_n": 1'), tmp_path, newcomer))
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)[0])
    assert [row["index"] for row in reply["results"]] == [row["index"] for row in shown["results"]]
    assert reply["results"][0]["relevance_score"] == pytest.approx(shown["results"][0]["relevance_score"], abs=0.05)
    assert list(reply) == list(shown)
    assert (reply["model"], reply["usage"]) == (shown["model"], shown["usage"])
    assert set(shown["extra_fields"]) - {"…"} <= set(reply["extra_fields"])


def test_the_configuration_is_valid_and_check_says_what_it_means(tmp_path) -> None:
    (tmp_path / "gateway.yaml").write_text(FILES["gateway.yaml"], encoding="utf-8")
    check, serve = block(".venv/bin/rerank-gateway check").splitlines()
    assert "our-best" in shell(check, tmp_path)
    assert serve == ".venv/bin/rerank-gateway serve --config gateway.yaml"
    tree = yaml.safe_load(FILES["gateway.yaml"].replace("${COHERE_API_KEY}", "k"))
    assert config.from_tree(tree).models["our-best"].fallbacks


def test_ranking_lines_works_here_and_through_a_gateway(newcomer, tmp_path) -> None:
    line = block("printf").strip()
    for command in (line, f"{line} --url {newcomer}"):
        assert "Paris is in France." in shell(command, tmp_path).splitlines()[1]


def test_the_client_prints_the_best_documents_id(newcomer, tmp_path) -> None:
    (tmp_path / "client.py").write_text(FILES["client.py"].replace("http://127.0.0.1:8080", newcomer), encoding="utf-8")
    assert shell(f"{shlex.quote(sys.executable)} client.py", tmp_path) == "fr\n"


def test_the_fallback_serves(newcomer, tmp_path) -> None:
    fields = json.loads(shell(block('"fallbacks"'), tmp_path, newcomer))["extra_fields"]
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)[1])
    assert fields["provider"] == "local"
    assert [_lasting(attempt) for attempt in fields["attempts"]] == [_lasting(attempt) for attempt in shown["attempts"]]
    assert "warnings" not in fields


def _lasting(attempt: dict[str, Any]) -> dict[str, Any]:
    """What an attempt says on every machine, whichever model is installed."""
    varying = ("latency", "model") if attempt["provider"] == "local" else ("latency",)
    return {key: value for key, value in attempt.items() if key not in varying}


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name)
def test_every_link_of_every_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith(("http://", "https://")) or (page.parent / target).exists(), target


def test_the_image_is_built_from_what_is_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [source for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.M) for source in line.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert copied
    assert all((ROOT / source).exists() and f"!{source}\n" in ignored for source in copied)
    assert "PYTHONSAFEPATH=1" in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.M)


def test_compose_mounts_a_configuration_that_may_listen_there() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    mounted = services["gateway"]["volumes"][0].split(":")[0]
    loaded = config.load(ROOT / mounted, {})
    assert loaded.server.host == "0.0.0.0"
    assert services["gateway"]["ports"] == [f"127.0.0.1:{loaded.server.port}:{loaded.server.port}"]
