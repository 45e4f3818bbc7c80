"""rerank-gateway version"""

from __future__ import annotations

import platform
from argparse import ArgumentParser, Namespace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("litestar", "torch", "sentence-transformers")
"""Whose versions matter in a report of a fault, beside our own."""


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "version",
        help="print the version, and those of what it runs on",
        description="Print the versions of the gateway, of Python, and of the packages that matter in a report.",
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print one line for each."""
    print(f"rerank-gateway {version('rerank-gateway')}")
    print(f"Python {platform.python_version()} ({platform.system()} {platform.machine()})")
    for name in PACKAGES:
        print(f"{name} {_version_of(name)}")
    return 0


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
