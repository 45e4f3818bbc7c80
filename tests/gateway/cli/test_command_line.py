"""The command line as users run it: what it prints, how it ends, and that no mistake of theirs gives a traceback."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.__main__ import main, parser
from gateway.access.keys import hash_of
from providers import registry

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


COMMANDS = ["serve", "init", "check", "providers", "rerank", "eval", "keys", "capacity", "completion", "version"]


class TestHelp:
    def test_the_commands_are_told(self, said) -> None:
        status, out, _ = said("--help")
        assert status == 0
        assert all(f"    {command}" in out for command in COMMANDS)
        assert "RERANK_GATEWAY_CONFIG" in out

    def test_a_command_of_a_command_is_listed_once(self, said) -> None:
        status, out, _ = said("eval", "--help")
        assert status == 0
        assert re.findall(r"^ +compare\b", out, re.MULTILINE) == ["    compare"]

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
            pytest.param(("rerank", "--query", "q", "--min-score", "nan"), "is not a number", id="no score"),
            pytest.param(("rerank", "--query", "q", "--timeout", "0"), "seconds above 0", id="no time"),
            pytest.param(("rerank", "--query", "q", "--from", "xml"), "invalid choice: 'xml'", id="no such format"),
            pytest.param(("rerank", "--model", "m"), "--query", id="no query"),
            pytest.param(("eval", "my data"), "write: --data 'my data'; or compare", id="data without its option"),
            pytest.param(("eval", "--top", "9", "beir"), "write: --data beir;", id="data after other options"),
            pytest.param(("eval", "compar", "a", "b"), "compare A B", id="a misspelt comparison"),
            pytest.param(("eval", "compare", "a"), "B.json", id="a comparison with one report"),
            pytest.param(("rerank", "--model", "m", "--query", "q", "--top-n", "0"), "from 1", id="no results"),
            pytest.param(
                ("capacity", "--config", "a.yaml"),
                "unrecognized arguments: --config; this command takes its file by its name alone",
                id="a file as an option",
            ),
            pytest.param(("serve", "a.yaml", "b"), "unrecognized arguments: b\n", id="more than it takes"),
            pytest.param(("serve", "a.yaml", "--config", "b.yaml"), "not allowed with argument", id="two files"),
        ],
    )
    def test_wrong_usage_is_status_2_and_says_what(self, said, arguments, message) -> None:
        status, _, err = said(*arguments)
        assert status == 2
        assert message in err


ONE_FILE: dict[str, tuple[str, ...]] = {
    "serve": ("serve",),
    "check": ("check",),
    "list the keys": ("keys", "list"),
    "rotate a key": ("keys", "rotate", "me"),
}


@pytest.mark.parametrize("option", [(), ("--config",)], ids=["by its name", "as an option"])
@pytest.mark.parametrize("command", ONE_FILE.values(), ids=ONE_FILE)
def test_the_configuration_is_named_in_one_way_everywhere(said, command, option) -> None:
    status, out, err = said(*command, *option, "none.yaml")
    assert (status, out) == (1, "")
    assert err == ("error: the configuration has a problem:\n  cannot read none.yaml: No such file or directory\n")


@pytest.mark.parametrize("name", ["none.yaml", "."], ids=["no such file", "a folder"])
@pytest.mark.parametrize("command", [("import", "litellm"), ("init", "-", "--from", "litellm")], ids=["import", "init"])
def test_a_file_to_import_that_cannot_be_read(said, command, name) -> None:
    status, out, err = said(*command, name)
    assert (status, out) == (1, "")
    assert err.startswith(f"error: cannot read {name}: ")


def test_an_empty_file_to_import(said, tmp_path) -> None:
    (tmp_path / "empty.yaml").write_bytes(b"")
    status, _, err = said("import", "bifrost", "empty.yaml")
    assert (status, err) == (1, "error: the configuration has a problem:\n  empty.yaml is empty\n")


def test_a_file_that_the_system_refuses_is_named_without_numbers(said, upstream, tmp_path) -> None:
    (tmp_path / "gateway.yaml").write_text("providers: {own: {adapter: passthrough}}\n", encoding="utf-8")
    (tmp_path / "out" / "report.json").mkdir(parents=True)
    status, _, err = said("eval", "--sample-data", "--config", "gateway.yaml", "--model", "none", "--output", "out")
    assert (status, err) == (1, "error: out/report.json: Is a directory\n")


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
        assert ["cohere", "cohere", "https://proxy.example/cohere/v2/rerank", "***", "30", "s", "none"] in rows
        assert "cohere/m  pointwise  probability  unknown  no           10,000 documents" in out
        assert ["best", "only", "target", "cohere/m", "none"] in rows
        assert "listens on http://127.0.0.1:9000 with 2 workers" in out

    def test_what_is_known_of_a_model_is_shown_as_corrected(self, said, tmp_path) -> None:
        limits = "{tokens_per_query: 100, tokens_per_pair: 600, tokens_per_call: 9000}"
        corrected = f"capabilities: {{rerank-*: {{multimodal: true, limits: {limits}}}}}"
        (tmp_path / "gateway.yaml").write_text(
            f"providers: {{cohere: {{api_key: k, {corrected}}}}}\n"
            "models: {best: {target: cohere/rerank-v3.5}, other: {target: cohere/m}}\n",
            encoding="utf-8",
        )
        _, out, _ = said("check", "gateway.yaml")
        told = "10,000 documents, 100 tokens per query, 600 tokens per pair, 9,000 tokens per call"
        assert (
            f"cohere/rerank-v3.5  pointwise  probability  pictures  no           {told}  left to the provider  $" in out
        )
        assert "cohere/m            pointwise  probability  unknown   no           10,000 documents  " in out

    def test_every_problem_is_printed_at_once(self, said, tmp_path) -> None:
        (tmp_path / "gateway.yaml").write_text(
            "server: {prot: 1}\nproviders: {cohere: {api_key: '${NO_SUCH_KEY}'}, vllm: }\n", encoding="utf-8"
        )
        status, out, err = said("check", "gateway.yaml")
        assert (status, out) == (1, "")
        assert err.splitlines() == [
            "error: the configuration has 3 problems:",
            '  line 1, server.prot: unknown key; did you mean "port"?',
            "  line 2, providers.cohere.api_key: environment variable NO_SUCH_KEY is not set",
            "  line 2, providers.vllm.base_url: is required; this adapter has no default URL",
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
        (tmp_path / "other.yaml").write_text("server: {port: 1}\nproviders: {passthrough: }\n", encoding="utf-8")
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

    def test_a_model_is_not_needed_where_there_is_one(self, said, vendor, lines) -> None:
        status, out, _ = said("rerank", "--config", "gateway.yaml", "--query", "capital", "--to", "text", lines)
        assert (status, out) == (0, "the capital is Paris\nhorses eat grass\n")

    def test_of_several_models_one_must_be_named(self, said, vendor, lines, tmp_path) -> None:
        text = (tmp_path / "gateway.yaml").read_text("utf-8").replace("{best:", "{other: {target: cohere/n}, best:")
        (tmp_path / "gateway.yaml").write_text(text, encoding="utf-8")
        ended, _, err = said("rerank", "--config", "gateway.yaml", "--query", "capital", lines)
        assert (ended, err) == (1, "error: name one of the models with --model: other, best\n")

    def test_ids_and_a_least_score(self, said, vendor, tmp_path) -> None:
        (tmp_path / "table.csv").write_text("id,text\nx,horses\ny,the capital\n", encoding="utf-8")
        arguments = ("--config", "gateway.yaml", "--query", "capital", "--min-score", "0.1")
        status, out, _ = said("rerank", *arguments, "table.csv")
        assert status == 0
        rows = [line.split() for line in out.splitlines()[:3]]
        assert rows == [["SCORE", "INDEX", "ID", "DOCUMENT"], ["0.3333", "1", "y", "the", "capital"], []]

    def test_many_documents_are_sent_in_bounded_requests(self, said, upstream, tmp_path) -> None:
        (tmp_path / "gateway.yaml").write_text(
            f'providers: {{tei: {{adapter: compatible, base_url: "{upstream.url}", '
            "capabilities: {'*': {scoring: pointwise, limits: {documents: 100}}}}}\nmodels: {best: {target: tei/m}}\n",
            encoding="utf-8",
        )
        lines = [f"line {number}" for number in range(1000)]
        (tmp_path / "many.txt").write_text("\n".join([*lines, "the capital"]), encoding="utf-8")
        arguments = ("--config", "gateway.yaml", "--query", "capital", "--top-n", "3", "--to", "jsonl")
        status, out, err = said("rerank", *arguments, "many.txt")
        assert (status, err) == (0, "")
        assert [json.loads(line)["index"] for line in out.splitlines()] == [1000, 0, 1]
        assert [len(request.body["documents"]) for request in upstream.requests] == [100] * 10 + [1]

    def test_the_gateway_may_be_named_by_the_environment(self, start_gateway, vendor, tmp_path) -> None:
        auth = {"keys": [{"name": "me", "hash": hash_of("rgw_secret")}]}
        models = {"best": {"target": "cohere/m"}}
        gateway = start_gateway({"providers": {"cohere": {"base_url": vendor.url}}, "models": models, "auth": auth})
        gateway.wait_until_ready()
        environ = {"RERANK_GATEWAY_URL": gateway.url, "RERANK_GATEWAY_KEY": "rgw_secret\n"}
        done = run("rerank", "--query", "capital", cwd=tmp_path, given=b"grass\nthe capital", **environ)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1].startswith("best → cohere/m, ")
        own = run("rerank", "--query", "q", "--config", "no.yaml", cwd=tmp_path, given=b"a", **environ)
        assert own.stderr.startswith("error: the configuration has a problem")

    def test_time_runs_out(self, said, vendor, lines) -> None:
        vendor.hold()
        arguments = ("--config", "gateway.yaml", "--query", "capital", "--timeout", "0.2")
        ended, _, err = said("rerank", *arguments, lines)
        assert (ended, err) == (1, "error: no complete answer within 0.2 s (--timeout)\n")

    @pytest.mark.parametrize("key", ["sk-very-secret\nx: y", "sk-very-secret\u20ac"], ids=["a line", "no ASCII"])
    def test_what_is_no_key_is_not_sent_nor_shown(self, said, vendor, lines, monkeypatch, key) -> None:
        monkeypatch.setenv("RERANK_GATEWAY_KEY", key)
        ended, _, err = said("rerank", "--url", vendor.url, "--model", "m", "--query", "q", lines)
        assert (ended, err) == (
            1,
            "error: RERANK_GATEWAY_KEY is not a key: it holds characters that no header can carry\n",
        )

    @pytest.mark.parametrize("url", [(), ("--url", "http://127.0.0.1:9")], ids=["in process", "elsewhere"])
    def test_half_a_character_is_named(self, said, vendor, tmp_path, url) -> None:
        (tmp_path / "half.jsonl").write_text('"a"\n"\\ud83d"\n', encoding="utf-8")
        ended, _, err = said(
            "rerank", "--config", "gateway.yaml", *url, "--model", "best", "--query", "q", "half.jsonl"
        )
        assert (ended, err) == (1, "error: document 1 holds half a character (an unpaired surrogate)\n")

    def test_what_a_terminal_obeys_is_not_printed(self, said, vendor, tmp_path) -> None:
        evil = '{"text": "capital \\u001b]0;owned\\u0007\\u202e", "id": "\\u009b2J"}'
        (tmp_path / "evil.jsonl").write_text(evil, encoding="utf-8")
        for answer_format in ("table", "json", "jsonl", "csv", "tsv", "text"):
            arguments = ("--config", "gateway.yaml", "--query", "capital", "--to", answer_format)
            status, out, _ = said("rerank", *arguments, "evil.jsonl")
            assert status == 0
            assert "capital" in out
            assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(out)

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
        "nothing to rank": ((), b"", "error: standard input holds no document to rank\n"),
        "blank lines alone": ((), b"\n \r\n\n", "error: standard input holds no document to rank\n"),
        "an empty list": ((), b"[]", "error: standard input holds no document to rank\n"),
        "no line of JSON": (("--from", "jsonl"), b"\n", "error: standard input holds no document to rank\n"),
        "column names alone": (("--from", "csv"), b"id,text\n", "error: standard input holds no document to rank\n"),
        "nothing, in parts": (("--batch-size", "2"), b"", "error: standard input holds no document to rank\n"),
        "nothing for another gateway": (
            ("--url", "http://127.0.0.1:9"),
            b"",
            "error: standard input holds no document",
        ),
        "an unknown model": (
            ("--model", "nope"),
            b"a",
            'error: unknown model "nope"; GET /v1/models lists the names\n',
        ),
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
    assert err.startswith("error: the configuration has a problem:\n  line 1, server.port: ")


def grammars(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser, and those of its commands."""
    choices = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return [parser, *(below for each in choices for inner in each.values() for below in grammars(inner))]


@pytest.mark.parametrize("grammar", grammars(parser()), ids=lambda grammar: str(grammar.prog))
def test_no_option_takes_as_many_values_as_there_are(grammar: argparse.ArgumentParser) -> None:
    """Such an option swallows a file behind it."""
    greedy = [
        action.option_strings for action in grammar._actions if action.option_strings and action.nargs in ("+", "*")
    ]
    assert greedy == []
