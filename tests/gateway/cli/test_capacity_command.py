"""`rerank-gateway capacity` as users run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.capacity import pools
from gateway.capacity.demand import Demand
from gateway.capacity.simulation import simulate

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that is quick: what is checked here does not depend on its last percents."""
    monkeypatch.setattr(pools, "simulate", partial(simulate, requests=20_000))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the command in an empty folder: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        status = main(["capacity", *arguments])
        return (status, *capsys.readouterr())

    return invoke


SHOWN: dict[str, tuple[list[str], list[str]]] = {
    "the least": (["--rate", "100"], ["gateway hosts of 8 cores", "with one lost", "unknown: give core_hour"]),
    "a store": (
        ["--rate", "100", "--limits", "requests", "--limits", "budget"],
        ["calls of Valkey", "requests, budget"],
    ),
    "an engine": (["--rate", "5", "--documents-per-second", "900"], ["replicas of the engine", "to the replicas"]),
    "money": (
        ["--rate", "1", "--model", "cohere/rerank-v3.5", "--core-hour", "0.05"],
        ["gateways, a month", "in all, a month", "$"],
    ),
    "no spare host": (["--rate", "100", "--spare", "0"], ["warning: the gateway hosts"]),
    "a request that is refused": (["--rate", "1", "--documents", "10001"], ["warning: requests of 10,001 documents"]),
    "one core": (["--rate", "1", "--cores", "1"], ["gateway hosts of 1 core ", "a host has 1 core to", "1 host away"]),
    "no price of a replica": (["--rate", "1", "--documents-per-second", "900"], ["unknown: give core_hour\n"]),
    "a replica of nothing": (
        ["--rate", "1", "--documents-per-second", "900", "--replica-cores", "0", "--core-hour", "1"],
        ["unknown: give replica_cores or replica_gpus"],
    ),
    "no price of a GPU": (
        ["--rate", "1", "--documents-per-second", "900", "--replica-gpus", "1", "--core-hour", "1"],
        ["unknown: give gpu_hour\n"],
    ),
    "a million a second": (["--rate", "1000000"], ["1,000,000 requests a second"]),
}


@pytest.mark.parametrize(("arguments", "words"), SHOWN.values(), ids=SHOWN)
def test_a_plan_is_printed(said: Any, arguments: list[str], words: list[str]) -> None:
    status, out, err = said(*arguments)
    assert (status, err) == (0, "")
    assert [each for each in [*words, "This rests on:"] if each not in out] == []


PRICES = ["--core-hour", "0.00001", "--per-search", "0.0000001"]
UNUSUAL: dict[str, list[str]] = {
    "hardly anything": ["--rate", "0.001", "--mean-rate", "0.0001", *PRICES],
    "a hundred million a second": ["--rate", "100000000", "--limits", "budget", *PRICES],
    "huge documents": ["--rate", "1", "--documents", "100000", "--document-bytes", "100MB", "--latency", "3600"],
    "a slow engine": ["--rate", "1", "--documents-per-second", "0.001", "--utilisation", "0.95"],
    "a slow engine with a goal": ["--rate", "1", "--documents-per-second", "0.001", "--p99", "3600"],
    "a fast engine with a goal": ["--rate", "1", "--documents-per-second", "9", "--p99", "0.0001"],
    "a fast upstream": ["--rate", "1", "--latency", "0.00001", "--p99", "3600"],
    "all is cached": ["--rate", "1", "--documents-per-second", "9", "--cache", "memory", "--cached", "1"],
    "large bursts": ["--rate", "100", "--burst", "100000"],
}


@pytest.mark.parametrize("arguments", UNUSUAL.values(), ids=UNUSUAL)
def test_no_figure_is_negative_or_has_an_exponent(said: Any, arguments: list[str]) -> None:
    told = "".join(said(*arguments)[1:])
    assert re.search(r"\d", told)
    assert re.findall(r"\d(?:\.\d+)?e[+-]?\d+|(?<!\w)-\d|\bnan\b|\binf\b", told) == []


def test_json_has_every_figure(said: Any) -> None:
    status, out, _ = said("--rate", "100", "--json", "--limits", "requests")
    plan = json.loads(out)
    assert status == 0
    assert plan["gateways"]["planned"]["units"] == 2
    assert plan["gateways"]["planned"]["delays"]["p99"] > plan["gateways"]["planned"]["delays"]["p50"] > 0
    assert plan["store"]["calls"] == 100 + 2 * 8
    assert plan["replicas"] is None
    assert plan["assumptions"]


def test_a_file_has_the_same_keys_and_an_option_overrides_one(said: Any, tmp_path: Path) -> None:
    (tmp_path / "traffic.yaml").write_text("rate: 100\ndocuments: 10\nlimits: [tokens]\ncores: 2\n", encoding="utf-8")
    from_file, from_options = (
        said("traffic.yaml"),
        said("--rate", "100", "--documents", "10", "--limits", "tokens", "--cores", "2"),
    )
    assert from_file[0] == 0
    assert from_file[1] == from_options[1]
    assert "4 cores" in said("traffic.yaml", "--cores", "4")[1]
    assert "4 cores" in said("--cores", "4", "traffic.yaml")[1]


def test_no_option_takes_the_file_for_its_own(said: Any, tmp_path: Path) -> None:
    (tmp_path / "traffic.yaml").write_text("rate: 100\nlimits: [tokens]\n", encoding="utf-8")
    limited = said("--cores", "4", "--limits", "requests", "--limits", "budget", "traffic.yaml")
    assert limited[0] == 0
    assert "against: requests, budget\n" in limited[1]
    assert "4 cores" in limited[1]


WRONG: dict[str, tuple[str, list[str], str]] = {
    "a misspelt key": ("rate: 1\ndocumentz: 3\n", [], "line 2, documentz: unknown key"),
    "a key is wrong": ("rate: 1\ncores: none\n", [], "cores: input should be a valid integer"),
    "not YAML": ("rate: [", [], "is not valid YAML"),
    "not a mapping": ("- 3", [], "must be a mapping"),
    "no rate": ("", [], "rate: is required"),
    "a variable that is not set": ("rate: ${NO_SUCH_RATE}", [], "NO_SUCH_RATE is not set"),
    "an option is wrong": ("rate: 1\n", ["--cached", "2"], "cached: input should be less than or equal to 1"),
}


@pytest.mark.parametrize(("text", "arguments", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(said: Any, tmp_path: Path, text: str, arguments: list[str], words: str) -> None:
    (tmp_path / "traffic.yaml").write_text(text, encoding="utf-8")
    status, out, err = said("traffic.yaml", *arguments)
    assert (status, out) == (1, "")
    assert words in err


def test_a_file_that_is_not_there_is_told(said: Any) -> None:
    status, _, err = said("nowhere.yaml", "--rate", "1")
    assert status == 1
    assert "nowhere.yaml" in err


def test_every_key_is_an_option(said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["capacity", "--help"])
    out = capsys.readouterr().out
    assert [name for name in Demand.model_fields if f"--{name.replace('_', '-')}" not in out] == []


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom gateway.__main__ import main\nmain(['capacity', '--rate', '10'])\n"
        "print([n for n in ('torch', 'transformers', 'numpy', 'evaluation') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
