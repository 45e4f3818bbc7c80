"""Keys as they are written: problems, the key file, the rule about open addresses, the command that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __main__ as command_line
from gateway.access.keys import KeyTable, hash_of
from gateway.config import loader as configuration
from gateway.config.exposure import is_loopback
from gateway.errors import ConfigError

HASH = hash_of("K")
ENTRY = {"name": "team", "hash": HASH}

PROBLEMS: dict[str, tuple[Any, str]] = {
    "a word that is not none": ("off", "auth: must be the word `none`"),
    "no keys": ({}, "auth.keys: is empty"),
    "an empty list": ({"keys": []}, "auth.keys: is empty"),
    "a raw key for a hash": ({"keys": [{"name": "t", "hash": "rgw_secret"}]}, "auth.keys.0.hash: must be `sha256:`"),
    "no hash": ({"keys": [{"name": "t"}]}, "auth.keys.0.hash: is required"),
    "a name with a space": ({"keys": [{"name": "a b", "hash": HASH}]}, "auth.keys.0.name"),
    "the same name twice": ({"keys": [ENTRY, {"name": "team", "hash": hash_of("L")}]}, "the same name"),
    "the same hash twice": ({"keys": [ENTRY, {"name": "other", "hash": HASH}]}, "the same hash"),
    "a date that is none": ({"keys": [{**ENTRY, "expires": "soon"}]}, "auth.keys.0.expires"),
    "an unknown key": ({"keys": [ENTRY], "tokens": []}, "auth.tokens: unknown key"),
}


def problems_of(tree: dict[str, Any], folder: Path, environ: dict[str, str] | None = None) -> str:
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError) as refused:
        configuration.load(path, environ or {})
    return str(refused.value)


@pytest.mark.parametrize(("auth", "expected"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_problem_is_told_with_its_place(auth: Any, expected: str, tmp_path: Path) -> None:
    told = problems_of({"auth": auth}, tmp_path)
    assert expected in told
    assert "rgw_secret" not in told


def load(folder: Path, tree: dict[str, Any], environ: dict[str, str] | None = None) -> KeyTable:
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(tree))
    auth = configuration.load(path, environ or {}).auth
    assert auth is not None
    return KeyTable(auth.keys)


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    tree = {"auth": {"keys": [{"name": "team", "hash": "${TEAM_HASH}"}]}}
    assert load(tmp_path, tree, {"TEAM_HASH": HASH}).find("K").name == "team"


def test_keys_come_from_a_file_of_their_own_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": [{"name": "other", "hash": "${OTHER}"}]}))
    table = load(tmp_path, {"auth": {"file": "keys.yaml", "keys": [ENTRY]}}, {"OTHER": hash_of("L")})
    assert [table.find("K").name, table.find("L").name] == ["team", "other"]


FILES = {
    "absent": (None, "auth.file: cannot read"),
    "not YAML": ("keys: [", "auth.file"),
    "a list": ("- name: x", "auth.file"),
    "something else too": ("keys: []\nmore: 1", "auth.file: keys.yaml must be a mapping with one key"),
    "a variable that is not set": ("keys: [{name: t, hash: '${NOT_SET}'}]", "NOT_SET is not set"),
    "a bad entry": ("keys: [{name: t, hash: x}]", "auth.file: keys.yaml, line 1, keys.0.hash: must be"),
}


@pytest.mark.parametrize(("text", "expected"), FILES.values(), ids=FILES.keys())
def test_a_problem_of_the_key_file_is_told(text: str | None, expected: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "keys.yaml").write_text(text)
    assert expected in problems_of({"auth": {"file": "keys.yaml"}}, tmp_path)


HOSTS = {
    "127.0.0.1": True,
    "127.8.8.8": True,
    "::1": True,
    "[::1]": True,
    "localhost": True,
    "0.0.0.0": False,
    "::": False,
    "": False,
    "10.0.0.7": False,
    "gateway.internal": False,
    "localhost.example.com": False,
    "::ffff:10.0.0.1": False,
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.items(), ids=HOSTS.keys())
def test_which_addresses_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize("command", ["serve", "check"])
def test_an_open_address_without_a_word_about_keys_is_refused_before_the_port_opens(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("server: {host: 0.0.0.0, port: 0}\nproviders: {passthrough: }")
    arguments = [command, "--config", str(path)] if command == "serve" else [command, str(path)]
    assert command_line.main(arguments) == 1
    assert "auth: none" in capsys.readouterr().err


def test_the_rule_holds_for_an_address_on_the_command_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "auth: is required to listen on" in capsys.readouterr().err


@pytest.mark.parametrize("auth", ["none", {"keys": [ENTRY]}], ids=["none", "keys"])
def test_an_open_address_is_fine_with_keys_or_with_the_word_none(auth: Any, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump({"server": {"host": "0.0.0.0"}, "auth": auth, "providers": {"passthrough": {}}}))
    assert command_line.main(["check", str(path)]) == 0


def test_keys_new_prints_a_key_once_and_yaml_that_lets_it_in(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command_line.main(["keys", "new", "search-team"]) == 0
    printed = capsys.readouterr().out
    secret = printed.splitlines()[0]
    assert printed.count(secret) == 1
    table = load(tmp_path, yaml.safe_load(printed[printed.index("auth:") :]))
    assert table.find(secret).name == "search-team"


def test_keys_new_refuses_a_name_that_cannot_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["keys", "new", "a b"])
    assert "is not a name" in capsys.readouterr().err
