"""The configuration file as an argument: by its name alone or after `--config`, in every command that takes it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_to(command: ArgumentParser, path: str | None) -> None:
    """Add both ways of naming the file; `path` is what counts where neither is used."""
    ways = command.add_mutually_exclusive_group()
    ways.add_argument("file", metavar="FILE", nargs="?", default=path, help="YAML configuration")
    ways.add_argument("--config", metavar="FILE", help="the same, as an option")


def chosen_file(options: Namespace) -> str | None:
    """The file that was named, or the one of the environment; None for the default configuration."""
    file: str | None = options.config or options.file
    return file
