"""In which line of the file a problem is.

The lines are looked up when there is a problem, in the file as it is then: a valid configuration needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from msgspec.structs import replace

from gateway.config import yaml_source
from gateway.errors import ConfigError, Problem
from gateway.settings import in_folder


@contextmanager
def located(path: str | Path | None) -> Iterator[None]:
    """Give the problems of a ConfigError from within the lines of that file, and sort them by these.

    None stands for a configuration without a file.
    """
    try:
        yield
    except ConfigError as error:
        root = _root(Path(path)) if path is not None else None
        if path is None or root is None:
            raise
        problems = [_located(root, Path(path), problem) for problem in error.problems]
        raise ConfigError(sorted(problems, key=lambda each: (each.line, each.path, each.message))) from None


def _located(root: yaml.Node, path: Path, problem: Problem) -> Problem:
    told = _in_key_file(root, path, problem) or problem
    return replace(told, line=told.line or line_of(root, told.path))


def line_of(root: yaml.Node, path: str) -> int:
    """The line, from 1, of that place or of the nearest section that is there around it; 0 if none is."""
    node: yaml.Node | None = root
    line, rest = 0, path
    while node is not None and rest:
        line, node, rest = _step(node, rest, line)
    return line


def _step(node: yaml.Node, rest: str, line: int) -> tuple[int, yaml.Node | None, str]:
    if isinstance(node, yaml.SequenceNode):
        index, _, below = rest.partition(".")
        if index.isdecimal() and int(index) < len(node.value):
            item = node.value[int(index)]
            return item.start_mark.line + 1, item, below
    # Names may hold dots: of the keys that fit, the longest is meant.
    fitting = [pair for pair in _pairs(node) if f"{rest}.".startswith(f"{pair[0].value}.")]
    if not fitting:
        return line, None, rest
    key, value = max(fitting, key=lambda pair: len(pair[0].value))
    return key.start_mark.line + 1, value, rest[len(key.value) + 1 :]


def _pairs(node: yaml.Node) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """The keys and values of a mapping; those that `<<` brings last."""
    merged: list[yaml.Node] = []
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.tag == yaml_source.MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif isinstance(key, yaml.ScalarNode):
            yield key, value
    for each in merged:
        yield from _pairs(each)


def _in_key_file(root: yaml.Node, path: Path, problem: Problem) -> Problem | None:
    """The same problem as one of `auth.file`, if it is about a key there: those come after the configuration's own."""
    auth = _child(root, "auth")
    file, own = (_child(auth, "file"), _child(auth, "keys")) if auth else (None, None)
    place = problem.path.removeprefix("auth.keys.").partition(".")
    if not isinstance(file, yaml.ScalarNode) or not problem.path.startswith("auth.keys.") or not place[0].isdecimal():
        return None
    index = int(place[0]) - (len(own.value) if isinstance(own, yaml.SequenceNode) else 0)
    keys = _root(Path(in_folder(file.value, path.parent)))
    if index < 0 or keys is None:
        return None
    inner = f"keys.{index}{place[1]}{place[2]}"
    return Problem("auth.file", f"{file.value}, {Problem(inner, problem.message, line_of(keys, inner))}")


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _root(path: Path) -> yaml.Node | None:
    try:
        return yaml_source.compose(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None
