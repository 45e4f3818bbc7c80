"""`init`: whatever it writes, `check` accepts, and holds no vendor's key."""

from __future__ import annotations

import io
import os
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from gateway.__main__ import main
from gateway.cli.init import ask, choose
from gateway.cli.starter_file import key_variable, render
from gateway.config import loader
from providers import registry

LOCAL = "local"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())


def written() -> dict[str, object]:
    text = Path("gateway.yaml").read_text(encoding="utf-8")
    assert "very-secret" not in text
    tree: dict[str, object] = yaml.safe_load(text)
    return tree


FLAGS: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "nothing": ([], {}, [LOCAL]),
    "a variable that is set": ([], {"COHERE_API_KEY": "very-secret"}, [LOCAL, "cohere"]),
    "several": ([], {"VOYAGE_API_KEY": "very-secret", "JINA_API_KEY": "very-secret"}, [LOCAL, "jina", "voyage"]),
    "a vendor": (["--provider", "cohere"], {"COHERE_API_KEY": "very-secret"}, ["cohere"]),
    "a server": (["--provider", "vllm=http://localhost:8000"], {}, ["vllm"]),
    "both": (["--provider", "tei=http://a", "--provider", "local"], {}, ["tei", "local"]),
    "an option": (
        ["--provider", "cloudflare", "--set", "cloudflare.account_id=abc"],
        {"CLOUDFLARE_API_TOKEN": "very-secret"},
        ["cloudflare"],
    ),
    "an address with a variable in it": (["--provider", "vllm=http://a/${x}"], {}, ["vllm"]),
    "passthrough": (["--provider", "passthrough"], {}, ["passthrough"]),
    "a caller's key": (["--key", "search-team"], {}, [LOCAL]),
}


@pytest.mark.parametrize(("flags", "environ", "providers"), FLAGS.values(), ids=FLAGS)
def test_what_it_writes_passes_check(
    flags: list[str], environ: dict[str, str], providers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["init", *flags]) == 0
    assert list(written()["providers"]) == providers  # type: ignore[call-overload]
    assert main(["check", "gateway.yaml"]) == 0


@pytest.mark.parametrize("name", registry.names())
def test_every_adapter_can_be_written(name: str) -> None:
    options = [("cloudflare", "account_id", "a"), ("watsonx", "project_id", "a"), ("vertex", "project", "my-project")]
    options += [("bedrock", "region", "us-east-1")]
    adapter = registry.find(name)
    url = "" if getattr(adapter, "base_url", "x") else "=http://localhost:1"
    (chosen,) = choose([f"{name}{url}"], [option for option in options if option[0] == name])
    text = render([chosen], None)
    Path("gateway.yaml").write_text(text, encoding="utf-8")
    assert loader.load(Path("gateway.yaml"), {key_variable(adapter): "k"}).providers.keys() == {name}
    assert text.isprintable() or not any(line != line.rstrip() for line in text.split("\n"))


def test_the_key_of_a_caller_is_shown_once_and_its_hash_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--key", "me"]) == 0
    key = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("rgw_"))
    config = loader.load(Path("gateway.yaml"), os.environ)
    assert config.auth is not None
    assert [entry.name for entry in config.auth.keys] == ["me"]
    assert key not in Path("gateway.yaml").read_text(encoding="utf-8")


def test_a_variable_that_is_not_set_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--provider", "cohere", "--provider", "azure=https://x.example"]) == 0
    out = capsys.readouterr().out
    assert "set COHERE_API_KEY before you go on" in out
    assert "set AZURE_API_KEY before you go on" in out


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--provider", "vllm=http://a", "--key", "me", "-"]) == 0
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["providers"] == {"vllm": {"base_url": "http://a"}}
    assert "rgw_" in err
    assert not Path("gateway.yaml").exists()


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gateway.yaml").write_text("mine", encoding="utf-8")
    assert main(["init"]) == 1
    assert capsys.readouterr().err == "error: gateway.yaml is there already; --force replaces it\n"
    assert Path("gateway.yaml").read_text(encoding="utf-8") == "mine"
    assert main(["init", "--force"]) == 0
    assert written()["providers"]


WRONG: dict[str, tuple[list[str], str]] = {
    "an unknown adapter": (["--provider", "coheer"], 'there is no adapter "coheer"; did you mean "cohere" or '),
    "nothing like it": (["--provider", "qqqq"], 'error: there is no adapter "qqqq"; `rerank-gateway providers` lists'),
    "a server without an address": (["--provider", "vllm"], "providers.vllm.base_url: is required"),
    "no address": (["--provider", "vllm=localhost"], "providers.vllm.base_url: must be an http:// or https:// URL"),
    "an option that is missing": (["--provider", "cloudflare"], "providers.cloudflare.options.account_id: is required"),
    "an option of nobody": (
        ["--provider", "cohere", "--set", "cohree.x=1"],
        'error: --set cohree.x: there is no provider cohree; did you mean "cohere"?',
    ),
    "an unknown option": (["--provider", "cohere", "--set", "cohere.x=1"], "cohere has no options"),
    "a provider twice": (["--provider", "tei=http://a", "--provider", "tei=http://b"], "a provider is named twice"),
}


@pytest.mark.parametrize(("flags", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_writes_nothing(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *flags]) == 1
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_folder_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "none/gateway.yaml"]) == 1
    assert capsys.readouterr().err == "error: cannot write none/gateway.yaml: No such file or directory\n"


ANSWERS: dict[str, tuple[list[str], list[str], list[tuple[str, str, str]], str | None]] = {
    "the usual": (["", ""], [LOCAL], [], None),
    "others": (["cohere vllm", "http://a", "me"], ["cohere", "vllm=http://a"], [], "me"),
    "an option": (["cloudflare", "abc", ""], ["cloudflare"], [("cloudflare", "account_id", "abc")], None),
}


@pytest.mark.parametrize(("typed", "providers", "options", "key"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_asked(
    typed: list[str], providers: list[str], options: list[tuple[str, str, str]], key: str | None
) -> None:
    chosen, answers = Namespace(provider=[], options=[], key=None), iter(typed)
    ask(chosen, lambda question: next(answers))
    assert (chosen.provider, chosen.options, chosen.key) == (providers, options, key)
    assert next(answers, None) is None
