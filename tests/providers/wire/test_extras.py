"""The command that adapters propose where their packages are missing."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from providers.wire import extras
from providers.wire.extras import install_command, needs

ROOT = Path(__file__).parents[3]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as installed from this tree: an editable installation may be older than its pyproject.toml."""
    entries = [f'{Requirement(entry)}; extra == "{extra}"' for extra, needed in EXTRAS.items() for entry in needed]
    monkeypatch.setattr(extras.metadata, "requires", lambda name: ["litestar>=2", *entries])


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_packages_are_named_and_not_ours_which_no_index_has(installed: None, extra: str) -> None:
    command = install_command(extra)
    assert command == "pip install " + " ".join(f'"{Requirement(entry)}"' for entry in EXTRAS[extra])
    assert "rerank-gateway" not in command


def test_several_extras_are_one_command(installed: None) -> None:
    expected = " ".join(f'"{Requirement(entry)}"' for entry in [*EXTRAS["local"], *EXTRAS["ray"]])
    assert install_command("local,ray") == f"pip install {expected}"


def test_options_of_pip_come_first(installed: None) -> None:
    assert install_command("bedrock", "--extra-index-url URL").startswith('pip install --extra-index-url URL "botocore')


def test_an_installation_that_does_not_know_the_extra_is_renewed() -> None:
    assert install_command("no-such-extra") == 'pip install ".[no-such-extra]"'
    assert install_command("local,no-such-extra") == 'pip install ".[local,no-such-extra]"'


CASES = {
    "all there": (("json", "asyncio.events"), False),
    "one missing": (("json", "no_such_module"), True),
    "a missing package": (("no_such_package.module",), True),
}


@pytest.mark.parametrize(("modules", "missing"), CASES.values(), ids=CASES.keys())
def test_a_command_is_given_only_if_something_is_missing(
    installed: None, modules: tuple[str, ...], missing: bool
) -> None:
    assert bool(needs("bedrock", *modules)()) is missing
