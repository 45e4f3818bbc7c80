"""Read a YAML file as a tree of plain values, and replace `${VARIABLE}` in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import ConfigError, Problem
from gateway.settings import is_quoted

_VARIABLE = re.compile(
    r"(?P<escaped>\$\$(?=\{))|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:-(?P<default>(?:(?!\$\{)[^}])*))?\}|(?P<bad>\$\{[^}]*\}?)"
)


_FOREIGN_VARIABLE = re.compile(
    r"(?:[A-Za-z-]+ )?(?:\$[A-Za-z_]\w*|\$\(\w+\)|%[A-Za-z_]\w*%|\{\{ ?[\w.]+ ?\}\}"
    r"|os\.environ(?:/\w+|\[.*\])|env\.[A-Z_]\w*)"
)
"""A variable as a shell, Windows, a template, LiteLLM or Bifrost write it, alone or after a word such as `Bearer`."""

MERGE = "tag:yaml.org,2002:merge"

EXTENSION = "x-"
"""Begins a key of the file itself that is ignored: a place for anchors, as in Compose files."""

MAX_VALUES = 1_000_000
"""Values in one file, those that aliases repeat counted each time: some lines of aliases can stand for billions."""


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # chosen at run time
    """Standard YAML, except that a duplicate key is an error; PyYAML would silently keep the last value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The node's value. Raises ConstructorError with the place, also where Python's own classes refuse a value."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            what = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(None, None, f"no valid {what}: {error}", node.start_mark) from None


def _unique_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, str) and key in seen:
            raise yaml.constructor.ConstructorError(None, None, f'key "{key}" is given twice', key_node.start_mark)
        seen.add(key if isinstance(key, str) else id(key_node))
    loader.flatten_mapping(node)
    mapping: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The file's tree, and the problems with its variables. Raises ConfigError unless it can be read as a mapping."""
    return parse(_text(path), environ, str(path))


def parse(text: str, environ: Mapping[str, str], name: str) -> tuple[dict[str, Any], list[Problem]]:
    """As `read`, but from text; `name` stands for the file in problems."""
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader, with one more check
    except yaml.YAMLError as error:
        raise ConfigError([Problem("", f"{name} is not valid YAML: {_one_line(error, text)}")]) from None
    except RecursionError:
        raise ConfigError([Problem("", f"{name} is nested too deeply")]) from None
    if not isinstance(tree, dict | None):
        raise ConfigError([Problem("", f"{name} must be a mapping, not {_kind(tree)}")])
    sections = {key: value for key, value in (tree or {}).items() if not str(key).startswith(EXTENSION)}
    if _has_too_many(sections):
        raise ConfigError([Problem("", f"{name} stands for more than {MAX_VALUES:,} values; use fewer YAML aliases")])
    problems: list[Problem] = []
    return {key: _substitute(value, str(key), environ, problems) for key, value in sections.items()}, problems


def compose(text: str) -> yaml.Node | None:
    """The nodes of that text, which know their lines. Raises YAMLError."""
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def _has_too_many(tree: Any) -> bool:
    count, waiting = 0, [tree]
    while waiting and count <= MAX_VALUES:
        node = waiting.pop()
        count += 1
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return count > MAX_VALUES


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem("", f"cannot read {path}: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("", f"{path} is not UTF-8 text")]) from None


def _one_line(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    if mark and (tab := _line_with_tab(text, mark.line)):
        return f"a tab indents line {tab}, where YAML allows spaces only; replace it"
    return f"{getattr(error, 'problem', None) or str(error).splitlines()[0]}{where}"


def _line_with_tab(text: str, last: int) -> int:
    """The line, from 1, that a tab indents: the one at the mark (from 0), or the one before it. 0 if neither is."""
    lines = text.split("\n")
    for number in (last, last - 1):
        if 0 <= number < len(lines):
            line = lines[number]
            if "\t" in line[: len(line) - len(line.lstrip(" \t-"))]:
                return number + 1
    return 0


def _kind(tree: Any) -> str:
    return "a list" if isinstance(tree, list) else "a single value"


def _substitute(node: Any, path: str, environ: Mapping[str, str], problems: list[Problem]) -> Any:
    """Replace `${VAR}` in string values after parsing, so that a secret cannot change the document's structure."""
    if isinstance(node, dict):
        return {key: _substitute(value, f"{path}.{key}", environ, problems) for key, value in node.items()}
    if isinstance(node, list):
        return [_substitute(value, f"{path}.{index}", environ, problems) for index, value in enumerate(node)]
    if isinstance(node, str) and _FOREIGN_VARIABLE.fullmatch(node):
        problems.append(Problem(path, "is a variable in another program's notation; write ${NAME}"))
        return ""
    if isinstance(node, str) and "$" in node:
        return "".join(_pieces(node, path, environ, problems))
    return node


def _pieces(text: str, path: str, environ: Mapping[str, str], problems: list[Problem]) -> Iterator[str]:
    position = 0
    for match in _VARIABLE.finditer(text):
        yield text[position : match.start()]
        yield _value_of(match, path, environ, problems)
        position = match.end()
    yield text[position:]


def _value_of(match: re.Match[str], path: str, environ: Mapping[str, str], problems: list[Problem]) -> str:
    if match["escaped"]:
        return "$"
    if match["bad"] is not None:
        problems.append(Problem(path, f'"{match[0]}" is not a variable; write ${{NAME}}, or $${{ for a literal ${{'))
        return ""
    value = environ.get(match["name"])
    if match["rest"] is not None:
        return value or match["default"]
    if value is None:
        problems.append(Problem(path, f"environment variable {match['name']} is not set"))
    elif is_quoted(value):
        message = f"the value of {match['name']} is still in quotes, which would be sent as well; set it without them"
        problems.append(Problem(path, message))
    return value or ""
