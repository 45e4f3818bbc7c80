"""`auth.file`: keys in a file of their own, so that they can be mounted as a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config import yaml_source
from gateway.errors import ConfigError, Problem


def merged(tree: dict[str, Any], folder: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration's tree with the keys of `auth.file` after its own, and what is wrong with that file.

    Args:
        tree: the configuration as read.
        folder: where a relative path begins: the configuration's own folder.
        environ: for `${VAR}` in the file.
    """
    auth = tree.get("auth")
    if not isinstance(auth, dict) or not isinstance(auth.get("file"), str):
        return tree, []
    try:
        section, problems = yaml_source.read(folder / auth["file"], environ)
    except ConfigError as error:
        return tree, [Problem("auth.file", problem.message) for problem in error.problems]
    keys, own = section.pop("keys", None), auth.get("keys") or []
    problems = [Problem("auth.file", str(problem)) for problem in problems]
    if section or not isinstance(keys, list) or not isinstance(own, list):
        return tree, [*problems, Problem("auth.file", f"{auth['file']} must hold one key, `keys:`, with a list")]
    return {**tree, "auth": {**auth, "keys": [*own, *keys]}}, problems
