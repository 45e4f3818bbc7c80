"""The command line as users run it: what it prints, how it ends, and that no mistake of theirs gives a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main, parser
from gateway.cli.rerank import read_documents
from providers import registry
from providers.errors import InvalidRequest

ROOT = Path(__file__).parents[3]
VENDOR = 'providers: {cohere: {base_url: "URL", api_key: "sk-very-secret"}}\nmodels: {best: {target: cohere/m}}\n'


def run(*arguments: str, cwd: Path, given: bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own. It must not show a traceback, nor the key."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        input=given,
        capture_output=True,
        timeout=90,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in out + err, err
    assert "sk-very-secret" not in out + err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run a command in this process: exit status, output, errors. For what needs no process of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        assert "sk-very-secret" not in out + err
        return status, out, err

    return invoke


@pytest.fixture
def vendor(upstream, tmp_path: Path):
    """A vendor on loopback and a configuration of it, `gateway.yaml` in the working directory."""
    (tmp_path / "gateway.yaml").write_text(VENDOR.replace("URL", upstream.url), encoding="utf-8")
    return upstream


COMMANDS = ["serve", "check", "providers", "rerank", "completion", "version"]


class TestHelp:
    def test_the_commands_are_told(self, said) -> None:
        status, out, _ = said("--help")
        assert status == 0
        assert all(f"    {command}" in out for command in COMMANDS)
        assert "RERANK_GATEWAY_CONFIG" in out

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_and_option_is_explained(self, said, command) -> None:
        status, out, _ = said(command, "--help")
        assert status == 0
        grammar = parser()._subparsers._group_actions[0].choices[command]  # type: ignore[union-attr,index]
        assert grammar.description
        assert all(action.help for action in grammar._actions)
        assert f"rerank-gateway {command}" in out

    def test_the_program_alone_prints_its_help(self, said) -> None:
        assert said() == said("--help")

    def test_the_versions_that_a_report_should_say(self, said) -> None:
        status, out, _ = said("version")
        assert status == 0
        assert re.match(r"rerank-gateway 0\.1\.0\nPython 3\.\d+\.\d+ \(\w+ \w+\)\nlitestar \d", out)

    def test_the_version(self, said) -> None:
        assert said("--version")[:2] == (0, "rerank-gateway 0.1.0\n")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param(("sevre",), "invalid choice: 'sevre'", id="an unknown command"),
            pytest.param(
                ("serve", "--port", "http"), '"http" is not a whole number from 0 to 65535', id="a port in words"
            ),
            pytest.param(("serve", "--port", "65536"), '"65536" is not a whole number', id="a port out of range"),
            pytest.param(("serve", "--workers", "0"), '"0" is not a whole number from 1 to 256', id="no worker"),
            pytest.param(("rerank", "--query", "q"), "--model", id="no model"),
            pytest.param(("rerank", "--model", "m"), "--query", id="no query"),
            pytest.param(("rerank", "--model", "m", "--query", "q", "--top-n", "0"), "from 1", id="no results"),
        ],
    )
    def test_wrong_usage_is_status_2_and_says_what(self, said, arguments, message) -> None:
        status, _, err = said(*arguments)
        assert status == 2
        assert message in err


class TestCheck:
    def test_a_valid_file_is_shown_as_it_is_understood(self, said, tmp_path) -> None:
        (tmp_path / "gateway.yaml").write_text(
            VENDOR.replace("URL", "https://proxy.example/cohere/") + "server: {port: 9000, workers: 2}\n",
            encoding="utf-8",
        )
        status, out, _ = said("check", "gateway.yaml")
        assert status == 0
        assert out.splitlines()[0] == "gateway.yaml is valid"
        rows = [line.split() for line in out.splitlines()]
        assert ["cohere", "cohere", "https://proxy.example/cohere/v2/rerank", "***", "30", "s"] in rows
        assert "cohere/m  unknown  probability  10,000 documents" in out
        assert ["best", "cohere/m", "none"] in rows
        assert "listens on 127.0.0.1:9000 with 2 workers" in out

    def test_every_problem_is_printed_at_once(self, said, tmp_path) -> None:
        (tmp_path / "gateway.yaml").write_text(
            "server: {prot: 1}\nproviders: {cohere: {api_key: '${NO_SUCH_KEY}'}, vllm: }\n", encoding="utf-8"
        )
        status, out, err = said("check", "gateway.yaml")
        assert (status, out) == (1, "")
        assert err.splitlines() == [
            "error: the configuration has 3 problems:",
            "  providers.cohere.api_key: environment variable NO_SUCH_KEY is not set",
            "  providers.vllm.base_url: is required; this adapter has no default URL",
            '  server.prot: unknown key; did you mean "port"?',
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param(None, "cannot read gateway.yaml: No such file or directory", id="no file"),
            pytest.param(b"a: [", "gateway.yaml is not valid YAML", id="no YAML"),
            pytest.param(b"\xff\xfe", "gateway.yaml is not UTF-8 text", id="no text"),
            pytest.param(b"- a", "gateway.yaml must be a mapping, not a list", id="no mapping"),
        ],
    )
    def test_a_file_that_is_no_configuration(self, said, tmp_path, content, message) -> None:
        if content is not None:
            (tmp_path / "gateway.yaml").write_bytes(content)
        status, _, err = said("check", "gateway.yaml")
        assert status == 1
        assert err.startswith(f"error: the configuration has a problem:\n  {message}")
        assert err.count("\n") == 2

    def test_the_file_may_be_named_by_the_environment(self, tmp_path) -> None:
        (tmp_path / "other.yaml").write_text("server: {port: 1}\n", encoding="utf-8")
        done = run("check", cwd=tmp_path, RERANK_GATEWAY_CONFIG="other.yaml")
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "other.yaml is valid")

    def test_a_model_that_has_ended_is_a_warning(self, said, tmp_path) -> None:
        (tmp_path / "gateway.yaml").write_text(
            "providers: {ali: {adapter: dashscope, api_key: k}}\nmodels: {best: {target: ali/gte-rerank}}\n",
            encoding="utf-8",
        )
        status, out, _ = said("check", "gateway.yaml")
        assert status == 0
        assert "\nwarning: ali: gte-rerank was retired on 2026-05-30; use qwen3-rerank\n" in out

    def test_no_file_is_the_default(self, said) -> None:
        status, out, _ = said("check")
        assert status == 0
        assert out.startswith("the default configuration is valid")
        assert "all-minilm-l6-v2" in out


def test_providers_is_a_table_of_all_adapters_and_their_fields(said) -> None:
    status, out, _ = said("providers")
    assert status == 0
    adapters, models = out.split("\n\n")
    rows = {line.split()[0]: line for line in adapters.splitlines()}
    assert set(rows) == {"ADAPTER", *registry.names()}
    declared = {f"{name}/{pattern}" for name in registry.names() for pattern in registry.find(name).capabilities}
    assert {line.split()[0] for line in models.splitlines()} == {"MODELS", *declared}
    for name in registry.names():
        assert all(field in rows[name] for field in registry.find(name).fields)


def test_an_unknown_adapter_is_an_error_with_near_matches(said) -> None:
    assert said("providers", "azur") == (1, "", 'error: unknown adapter "azur"; did you mean "azure"?\n')
    status, _, err = said("providers", "\x1b[31mxyz")
    assert status == 1
    assert err.startswith('error: unknown adapter "\ufffd[31mxyz"; known are azure, ')


LINES: dict[str, tuple[str, list[Any]]] = {
    "text": ("a\nb b\n", ["a", "b b"]),
    "blank lines": ("\na\n\n \nb", ["a", "b"]),
    "Windows lines": ("a\r\nb\r\n", ["a", "b"]),
    "text like JSON": ('"quoted" he said\n{not JSON}\n', ['"quoted" he said', "{not JSON}"]),
    "a number first is text": ('1\n"a"\n', ["1", '"a"']),
    "strings": ('"a"\n"b\\nc"\n', ["a", "b\nc"]),
    "objects": ('{"text": "a", "id": 1}\r\n{"Title": "b"}\n', [{"text": "a", "id": 1}, {"Title": "b"}]),
    "strings and objects": ('{"text": "a"}\n"b"\n', [{"text": "a"}, "b"]),
    "a separator of lines within a text": ("a\u2028b\n", ["a\u2028b"]),
    "nothing": ("", []),
    "blanks": (" \n\n", []),
}


@pytest.mark.parametrize(("text", "documents"), LINES.values(), ids=LINES)
def test_documents_are_one_a_line(text: str, documents: list[Any]) -> None:
    assert read_documents(text) == documents


@pytest.mark.parametrize("line", ["{broken", "5", "null", "[]", "text"])
def test_a_broken_line_of_json_lines_is_named(line: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^line 3 is not a JSON string or object"):
        read_documents(f'{{"text": "a"}}\n\n{line}\n')


class TestRerank:
    @pytest.fixture
    def lines(self, tmp_path: Path) -> str:
        (tmp_path / "lines.txt").write_text("horses eat grass\nthe capital is Paris\n", encoding="utf-8")
        return "lines.txt"

    def test_ranks_a_file_in_this_process(self, said, vendor, lines) -> None:
        status, out, err = said("rerank", "--config", "gateway.yaml", "--model", "best", "--query", "capital", lines)
        assert (status, err) == (0, "")
        assert [line.split() for line in out.splitlines()[:3]] == [
            ["SCORE", "INDEX", "DOCUMENT"],
            ["0.2000", "1", "the", "capital", "is", "Paris"],
            ["0.0000", "0", "horses", "eat", "grass"],
        ]
        assert out.splitlines()[-1].startswith("best → cohere/m, ")

    def test_json_is_the_whole_answer(self, said, vendor, lines) -> None:
        arguments = ("--config", "gateway.yaml", "--model", "cohere/m", "--query", "capital", "--top-n", "1", "--json")
        status, out, _ = said("rerank", *arguments, lines)
        reply = json.loads(out)
        assert status == 0
        assert reply["results"] == [{"index": 1, "relevance_score": 0.2, "document": {"text": "the capital is Paris"}}]

    @pytest.mark.parametrize("path", ["/", "/v1/rerank"], ids=["a base", "a full endpoint"])
    def test_asks_a_running_gateway_and_reads_standard_input(self, path, start_gateway, vendor, tmp_path) -> None:
        gateway = start_gateway({"providers": {"cohere": {"base_url": vendor.url}}})
        gateway.wait_until_ready()
        arguments = ("rerank", "--url", f"{gateway.url}{path}", "--model", "cohere/m", "--query", "capital")
        done = run(*arguments, cwd=tmp_path, given=b'{"text": "the capital"}\n"grass"\n')
        assert done.returncode == 0
        assert "the capital" in done.stdout.splitlines()[1]
        refused = run(*arguments[:-4], "--model", "coher/m", "--query", "q", cwd=tmp_path, given=b"a")
        assert refused.returncode == 1
        assert refused.stderr == 'error: unknown model "coher/m"; did you mean "cohere/m"? (HTTP 404)\n'

    WRONG: dict[str, tuple[tuple[str, ...], bytes, str]] = {
        "no such file": (("none.txt",), b"", "error: cannot read none.txt: No such file or directory\n"),
        "a folder": ((".",), b"", "error: cannot read .: Is a directory\n"),
        "not UTF-8": ((), b"\xff\xfe", "error: standard input is not UTF-8 text\n"),
        "nothing to rank": ((), b"", "error: documents are required for rerank\n"),
        "an unknown model": (("--model", "nope"), b"a", 'error: unknown model "nope"\n'),
        "a blank query": (("--query", " "), b"a", "error: query is required for rerank\n"),
        "a broken line": ((), b'{"text": "a"}\n{', "error: line 2 is not a JSON string or object"),
        "a vendor that is gone": ((), b"a", "error: could not connect to 127.0.0.1:9: "),
        "no such configuration": (("--config", "no.yaml"), b"a", "error: the configuration has a problem:\n"),
        "nobody at that address": (("--url", "http://127.0.0.1:9"), b"a", "error: cannot reach http://127.0.0.1:9: "),
        "no address": (("--url", "somewhere"), b"a", "error: cannot reach somewhere: "),
        "an impossible address": (("--url", "http://x:port"), b"a", "error: cannot reach http://x:port: "),
    }

    @pytest.mark.parametrize(("arguments", "given", "message"), WRONG.values(), ids=WRONG)
    def test_a_mistake_is_one_sentence_and_status_1(
        self, said, tmp_path, monkeypatch, arguments, given, message
    ) -> None:
        import io

        (tmp_path / "gateway.yaml").write_text(VENDOR.replace("URL", "http://127.0.0.1:9"), encoding="utf-8")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        usual = ("--config", "gateway.yaml", "--model", "best", "--query", "q")
        status, out, err = said("rerank", *usual, *arguments)
        assert (status, out) == (1, "")
        assert err.startswith(message)
        assert "Traceback" not in err

    @pytest.mark.parametrize(
        ("status", "body"), [(200, b"hello"), (200, b"[]"), (200, b"{}"), (404, b"nope"), (500, b'{"message": {}}')]
    )
    def test_an_address_of_something_else_is_one_sentence(self, said, vendor, lines, status, body) -> None:
        vendor.reply_with(status, body)
        ended, _, err = said("rerank", "--url", vendor.url, "--model", "m", "--query", "q", lines)
        assert ended == 1
        assert err == f"error: {vendor.url} does not answer like a rerank-gateway (HTTP {status})\n"

    def test_a_reader_who_has_seen_enough_is_no_error(self, vendor, tmp_path) -> None:
        (tmp_path / "many.txt").write_text("word\n" * 5000, encoding="utf-8")
        script = (
            f"'{sys.executable}' -m gateway rerank --config gateway.yaml --model best --query word many.txt | head -1;"
            "exit ${PIPESTATUS[0]}"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_serve_with_a_broken_configuration_opens_no_port(said, tmp_path) -> None:
    (tmp_path / "gateway.yaml").write_text("server: {port: x}", encoding="utf-8")
    status, out, err = said("serve", "--config", "gateway.yaml")
    assert (status, out) == (1, "")
    assert err.startswith("error: the configuration has a problem:\n  server.port: ")
