"""rerank-gateway import"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.imports import bifrost, litellm
from gateway.cli.imports.draft import Draft
from gateway.config.loader import from_tree
from gateway.errors import ConfigError, Problem

FORMATS: Mapping[str, Callable[[Mapping[str, Any]], Draft]] = {"litellm": litellm.convert, "bifrost": bifrost.convert}
MAX_BYTES = 4 * 1024 * 1024
"""Of a configuration that is imported."""


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "import",
        help="write another gateway's configuration as one of ours",
        description="Print our YAML for the rerank models of a configuration of LiteLLM's proxy or of Bifrost, and "
        "below it, line by line, what has no equivalent. Keys that stand in the file are not printed.",
    )
    command.add_argument("format", choices=list(FORMATS), help="whose configuration it is")
    command.add_argument("file", metavar="FILE", help="its configuration: YAML or JSON")
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the configuration. Raises as `imported`."""
    print(imported(chosen.format, chosen.file), end="")
    return 0


def imported(format_name: str, file: str) -> str:
    """Our YAML for a file of that format. Raises ConfigError for a file that is none, or that holds no reranker."""
    draft = FORMATS[format_name](_read(Path(file)))
    if not draft.providers:
        raise ConfigError([Problem("", f"{file} has no rerank model"), *(Problem("", note) for note in draft.notes)])
    return render(draft, file)


def render(draft: Draft, source: str) -> str:
    """The YAML, with what was not taken over, and what `check` would say of it, in comments below."""
    text = f"# Imported from {source}. `rerank-gateway check FILE` says what it means.\n"
    text += yaml.safe_dump(draft.tree(), sort_keys=False, allow_unicode=True, width=100)
    for title, lines in (("Not taken over:", draft.notes), ("To do before it loads:", _problems(draft))):
        if lines:
            text += f"\n# {title}\n" + "".join(f"# - {line}\n" for line in lines)
    return text


def _problems(draft: Draft) -> list[str]:
    """What `check` would say, but of what only the environment knows."""
    try:
        from_tree(draft.tree())
    except ConfigError as error:
        return [str(each) for each in error.problems if not _is_variable(draft.tree(), each.path)]
    return []


def _is_variable(tree: Any, path: str) -> bool:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return isinstance(tree, str) and tree.startswith("${")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(_text_of(path))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([Problem("", f"{path} is neither YAML nor JSON ({type(error).__name__})")]) from None
    if tree is None:
        raise ConfigError([Problem("", f"{path} is empty")])
    if not isinstance(tree, dict):
        raise ConfigError([Problem("", f"{path} is not a mapping at its top")])
    return tree


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError([Problem("", f"{path} has more than {MAX_BYTES} bytes")])
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from None
