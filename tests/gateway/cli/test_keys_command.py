"""`keys`: made, listed, hashed and rotated, for people and for programs."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.access.keys import hash_of, new_key
from gateway.config import loader

OLD, OTHER = hash_of("old"), hash_of("other")
FILE = f"""\
# Ours.
providers: {{own: {{adapter: passthrough}}}}
auth:
  keys:
    - {{name: team, hash: "{OLD}"}}   # the search team
    - name: other
      hash: {OTHER}
      models: [own/a, own/b]
      expires: 2099-01-01
      admin: true
      limits: {{requests: 600/minute}}
      budget: {{usd: 5, period: day}}
"""


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("gateway.yaml").write_text(FILE, encoding="utf-8")

    def invoke(*arguments: str, given: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        status = main(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return invoke


def test_a_new_key_for_a_program(said: Any) -> None:
    status, out, _ = said("keys", "new", "me", "--json")
    made = json.loads(out)
    assert status == 0
    assert made == {"name": "me", "key": made["key"], "hash": hash_of(made["key"])}


def test_the_list_tells_what_each_key_may(said: Any) -> None:
    status, out, _ = said("keys", "list", "gateway.yaml")
    assert status == 0
    rows = out.splitlines()
    assert rows[0].split() == ["NAME", "STATE", "ADMIN", "LIMITS", "BUDGET", "MODELS"]
    assert rows[1].split() == ["team", "valid", "no", "none", "none", "*"]
    assert "until 2099-01-01 00:00 UTC" in rows[2]
    assert "600/minute requests" in rows[2]
    assert "5 USD a day" in rows[2]
    assert rows[2].endswith("own/a, own/b")


def test_the_list_for_a_program(said: Any) -> None:
    listed = json.loads(said("keys", "list", "gateway.yaml", "--json")[1])
    assert [(key["name"], key["hash"], key["expired"]) for key in listed] == [
        ("team", OLD, False),
        ("other", OTHER, False),
    ]
    assert listed[1]["models"] == ["own/a", "own/b"]


def test_a_gateway_without_keys(said: Any) -> None:
    Path("open.yaml").write_text("providers: {own: {adapter: passthrough}}\nauth: none\n", encoding="utf-8")
    assert said("keys", "list", "open.yaml") == (0, "callers need no key\n", "")
    assert json.loads(said("keys", "list", "open.yaml", "--json")[1]) == []


def test_the_hash_of_a_key_that_one_has(said: Any) -> None:
    assert said("keys", "hash", given="old\n") == (0, OLD + "\n", "")
    assert json.loads(said("keys", "hash", "--json", given="old")[1]) == {"hash": OLD}


@pytest.mark.parametrize("given", ["", "\n", "two keys", "a\nb", "schlüssel", "a\x00b"])
def test_what_is_no_key_has_no_hash(given: str, said: Any) -> None:
    status, out, err = said("keys", "hash", given=given)
    assert (status, out) == (1, "")
    assert err.startswith("error: standard input must hold one key")


def test_rotation_replaces_one_hash_and_nothing_else(said: Any) -> None:
    os.chmod("gateway.yaml", 0o640)
    status, out, _ = said("keys", "rotate", "team", "gateway.yaml")
    key = out.splitlines()[0]
    assert status == 0
    assert Path("gateway.yaml").read_text(encoding="utf-8") == FILE.replace(OLD, hash_of(key))
    assert stat.S_IMODE(os.stat("gateway.yaml").st_mode) == 0o640
    assert [file.name for file in Path().iterdir()] == ["gateway.yaml"]


def test_rotation_for_a_program_in_a_key_file_behind_a_link(said: Any) -> None:
    Path("real.yaml").write_text(f"keys:\n- name: ours\n  hash: {OLD}\n", encoding="utf-8")
    Path("keys.yaml").symlink_to("real.yaml")
    text = "providers: {own: {adapter: passthrough}}\nauth: {file: keys.yaml}\n"
    Path("with-file.yaml").write_text(text, encoding="utf-8")
    made = json.loads(said("keys", "rotate", "ours", "with-file.yaml", "--json")[1])
    assert (made["name"], made["file"]) == ("ours", "keys.yaml")
    assert Path("keys.yaml").is_symlink()
    config = loader.load(Path("with-file.yaml"), {})
    assert config.auth is not None
    assert config.auth.keys[0].hash == hash_of(made["key"]) == made["hash"]


def test_a_hash_that_comes_from_a_variable_is_not_found(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_HASH", OLD)
    text = 'providers: {own: {adapter: passthrough}}\nauth: {keys: [{name: team, hash: "${KEY_HASH}"}]}\n'
    Path("variable.yaml").write_text(text, encoding="utf-8")
    status, out, err = said("keys", "rotate", "team", "variable.yaml")
    assert (status, out) == (1, "")
    assert 'the hash of "team" is not written in variable.yaml' in err
    assert Path("variable.yaml").read_text(encoding="utf-8") == text


def test_rotation_of_a_wrong_name(said: Any) -> None:
    assert said("keys", "rotate", "taem", "gateway.yaml")[2] == (
        'error: no key is called "taem"; did you mean "team"?\n'
    )
    assert said("keys", "rotate", "team")[2] == "error: name the configuration file whose key is to be replaced\n"


def test_a_file_that_is_not_valid_is_not_changed(said: Any) -> None:
    Path("gateway.yaml").write_text(FILE + "sever: {}\n", encoding="utf-8")
    status, out, err = said("keys", "rotate", "team", "gateway.yaml")
    assert (status, out) == (1, "")
    assert "sever: unknown key" in err
    assert Path("gateway.yaml").read_text(encoding="utf-8") == FILE + "sever: {}\n"


def test_keys_made_here_have_their_hash() -> None:
    key, digest = new_key()
    assert hash_of(key) == digest


def test_bytes_that_are_no_text_are_no_key(said: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert main(["keys", "hash"]) == 1
    assert capsys.readouterr().err.startswith("error: standard input must hold one key")
