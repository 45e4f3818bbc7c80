"""The values of the Helm chart: its values.yaml and the table of docs/kubernetes.md, both from values.schema.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "deploy" / "helm" / "rerank-gateway"
HEAD = """\
# Every value with its default. Written by `make docs` from values.schema.json; docs/kubernetes.md has a table of them.
"""

Schema = dict[str, Any]


def values() -> str:
    """The text of values.yaml."""
    return HEAD + "\n".join(_lines(_schema(), ""))


def _schema() -> Schema:
    schema: Schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    return schema


def _lines(node: Schema, indent: str) -> Iterator[str]:
    for name, field in node["properties"].items():
        if "default" in field:
            yield f"{indent}# {field['description']}"
            yield indent + _dumped({name: field["default"]}).replace("\n", f"\n{indent}")
        elif "properties" in field:
            yield f"{indent}{name}:"
            yield from _lines(field, indent + "  ")
    if not indent:
        yield ""


def _dumped(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=1_000_000).removesuffix("\n")


def _table() -> str:
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *_rows(_schema(), "")])


def _rows(node: Schema, prefix: str) -> Iterator[str]:
    for name, field in node["properties"].items():
        if "default" in field:
            default = yaml.safe_dump(field["default"], default_flow_style=True, sort_keys=False, width=1_000_000)
            shown = default.removesuffix("\n").removesuffix("\n...")
            yield f"| `{prefix}{name}` | `{shown}` | {field['description']} |"
        elif "properties" in field:
            yield from _rows(field, f"{prefix}{name}.")


PARTS: dict[str, Callable[[], str]] = {"chart_values": _table}
