"""The callers' keys in `auth.file`: a file of their own, which can be mounted as a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config import yaml_source
from gateway.errors import ConfigError, Problem
from gateway.settings import in_folder


def merge(tree: dict[str, Any], folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Append the keys in `auth.file`, if it is set, to those in the configuration.

    Args:
        tree: the configuration as read.
        folder: of the configuration, to which the path is relative.
        environ: for `${VAR}` in the file.

    Returns:
        The tree with all keys, and the problems of the file. With a problem, the tree is as it was.
    """
    auth = tree.get("auth")
    if not isinstance(auth, dict) or not isinstance(auth.get("file"), str):
        return tree, []
    try:
        section, problems = yaml_source.read(Path(in_folder(auth["file"], folder)), environ)
    except ConfigError as error:
        return tree, [Problem("auth.file", problem.message) for problem in error.problems]
    keys, own = section.pop("keys", None), auth.get("keys") or []
    problems = [Problem("auth.file", str(problem)) for problem in problems]
    if section or not isinstance(keys, list) or not isinstance(own, list):
        return tree, [
            *problems,
            Problem("auth.file", f"{auth['file']} must be a mapping with one key, `keys`, and a list of keys in it"),
        ]
    return {**tree, "auth": {**auth, "keys": [*own, *keys]}}, problems
