"""From the plain values of a YAML file to a typed configuration, and every problem on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.root import Config
from gateway.errors import Problem
from gateway.settings import FILES, FOLDER, Settings
from gateway.suggestions import did_you_mean

_MESSAGES = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be text; put it in quotes",
}
"""By pydantic's type of error, where its own message speaks of Python's types."""

Location = tuple[int | str, ...]
"""A place in the tree: keys of mappings, and indices of lists."""


def parse(tree: Any, folder: Path | None = None) -> tuple[Config, list[Problem]]:
    """The configuration in the tree, and what is wrong with it.

    What is wrong is removed from the tree, and the rest is validated again: so all problems are found in one go, and
    the configuration that is returned is whole, if not what was written. Names of files are relative to `folder`.
    """
    problems: list[Problem] = []
    while True:
        try:
            files: set[Path] = set()
            config = Config.model_validate(tree, context={FOLDER: folder, FILES: files})
            config.note_files(files)
            return config, problems
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False)
            problems += [problem for problem in map(_problem, details) if not is_consequence(problem, problems)]
            rest = tree
            for detail in details:
                rest = _without(rest, _to_remove(detail))
            tree = rest if rest != tree else {}


def is_consequence(problem: Problem, earlier: Iterable[Problem]) -> bool:
    """Whether an earlier problem is at the same place, within it or around it, so that it may have led to this one."""
    return any(_holds(problem.path, each.path) or _holds(each.path, problem.path) for each in earlier)


def _holds(outer: str, inner: str) -> bool:
    return f"{inner}.".startswith(f"{outer}.")


def keys_at(location: Location) -> list[str]:
    """The keys that the configuration can have at a place, found by following the types of the settings."""
    types: list[Any] = [Config]
    for part in location:
        types = [inner for outer in types for inner in _below(outer, part)]
    return [key for each in types if _is_section(each) for key in each.model_fields]


def _problem(detail: ErrorDetails) -> Problem:
    location = _location(detail)
    is_about_key = location != detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            message = "unknown key" + did_you_mean(str(location[-1]), keys_at(location[:-1]))
        case "missing":
            message = "is required"
        case "value_error":
            message = str(detail["ctx"]["error"])
        case "string_type" if is_about_key:
            message = "a key must be text; put it in quotes"
        case kind:
            message = _MESSAGES.get(kind) or detail["msg"][0].lower() + detail["msg"][1:]
    return Problem(".".join(map(str, location)), message)


def _location(detail: ErrorDetails) -> Location:
    """pydantic ends the location with "[key]" if the key of a mapping is at fault, not its value."""
    return tuple(part for part in detail["loc"] if part != "[key]")


def _to_remove(detail: ErrorDetails) -> Location:
    """The value that is wrong, or the mapping that lacks a key."""
    location = _location(detail)
    return location[:-1] if detail["type"] == "missing" else location


def _without(tree: Any, location: Location) -> Any:
    """A copy of the tree without the entry at the location, or without the whole list that it is in."""
    if not location or location[0] not in tree:
        return tree
    key, rest = location[0], location[1:]
    if isinstance(tree[key], dict) and rest:
        return {**tree, key: _without(tree[key], rest)}
    return {name: value for name, value in tree.items() if name != key}


def _below(outer: Any, part: int | str) -> Iterator[Any]:
    """The types that a value can have at a key or an index of the outer type."""
    if _is_section(outer) and part in outer.model_fields:
        yield from _alternatives(outer.model_fields[part].annotation)
    elif get_origin(outer) in (dict, list):
        yield from _alternatives(get_args(outer)[-1])


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, one by one and without what `Annotated` adds to them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
    else:
        yield annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Settings)
