"""Write what is derived from the code: `python -m docs.generate` (`make docs`). A test checks freshness.

config/schema.json            editors complete and check the YAML with it
gateway/capacity/costs.json    the costs that plans are made of, from the measurements
config/gateway.example.yaml   every key with its meaning and default
docs/configuration.md         the tables below its marker
deploy/helm/*/values.yaml     the values of the chart, from their schema
docs/*.md                     whatever stands between `<!-- generated: NAME -->` and `<!-- end -->`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from docs import capacity, chart, observability, providers
from gateway.config import loader as config
from providers.local.builtin.catalogue import EMBEDDING_MODEL

ROOT = Path(__file__).parent.parent
PARTS: dict[str, Callable[[], str]] = {**chart.PARTS, **observability.PARTS, **providers.PARTS, **capacity.PARTS}
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MARKER = "<!-- Everything below is written by `make docs`. -->\n"
HEAD = """\
# yaml-language-server: $schema=schema.json
#
# Every key, with its meaning. Live lines are an example or the default; commented ones have no default.
# ${VARIABLE} is taken from the environment, ${VARIABLE:-default} too; $${ is a literal ${.
# Written by `make docs`; to begin, take the few lines that you need: config/gateway.yaml has two.
"""
EXAMPLE: dict[str, Any] = {
    "providers": {
        "cohere": {
            "api_key": "${COHERE_API_KEY}",
            "capabilities": {"rerank-v3.5": {"limits": {"documents": 1000}}},
        },
        "jina": {"api_key": "${JINA_API_KEY}"},
        "voyage": {"api_key": "${VOYAGE_API_KEY}"},
        "vllm": {"base_url": "http://localhost:8000"},
        "team-b": {"adapter": "cohere", "base_url": "https://proxy.example/cohere", "api_key": "${TEAM_B_KEY}"},
        "local": {"models": {"all-minilm-l6-v2": {"path": EMBEDDING_MODEL.path}}},
    },
    "models": {
        "voyage-rerank-2.5": {"target": "voyage/rerank-2.5"},
        "fused": {"fuse": ["voyage-rerank-2.5", "BAAI/bge-reranker-base"], "weights": [2, 1], "require": 1},
        "cascade": {"cascade": [{"model": "BAAI/bge-reranker-base", "keep": 50}, {"model": "voyage-rerank-2.5"}]},
        "BAAI/bge-reranker-base": {"target": "local/all-minilm-l6-v2", "fallbacks": ["cohere/rerank-v3.5"]},
    },
    "prices": {"team-b/*": {"per_search": 0.0015}},
    "calibrations": {"voyage/rerank-2.5": {"platt": {"slope": 9.41, "intercept": -5.08}}},
}
"""What the example sets beyond the defaults. The first entry of a mapping is shown with every key it takes."""

Schema = dict[str, Any]


def files() -> dict[Path, str]:
    """What each file should hold."""
    schema = config.json_schema()
    page = ROOT / "docs" / "configuration.md"
    written = page.read_text(encoding="utf-8").partition(MARKER)[0]
    return {
        ROOT / "gateway" / "capacity" / "costs.json": capacity.costs(),
        ROOT / "config" / "schema.json": json.dumps(schema, indent=2) + "\n",
        ROOT / "config" / "gateway.example.yaml": HEAD + "\n".join(_mapping(schema, schema, EXAMPLE, "")) + "\n",
        chart.CHART / "values.yaml": chart.values(),
        page: written + MARKER + "\n" + "\n".join(_tables(schema)),
        **{path: renewed(path.read_text(encoding="utf-8")) for path in (ROOT / "docs").glob("*.md") if path != page},
    }


def renewed(text: str) -> str:
    """The page with every generated part as the code would have it now."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", text)


def _mapping(schema: Schema, node: Schema, values: dict[str, Any], indent: str) -> Iterator[str]:
    for name, field in node["properties"].items():
        if not indent:
            yield ""
        yield f"{indent}# {_meaning(schema, field)}"
        yield from _key(schema, name, field, values.get(name, field.get("default")), indent)


def _key(schema: Schema, name: str, field: Schema, value: Any, indent: str) -> Iterator[str]:
    section, entries = _section(schema, field), _entries(schema, field)
    if section and value is None:
        yield f"{indent}# {name}:"
        yield from _commented(_mapping(schema, section, {}, indent + "  "), indent)
    elif section:
        lines = list(_mapping(schema, section, value if isinstance(value, dict) else {}, indent + "  "))
        live = any(not line.lstrip().startswith("#") for line in lines)
        yield f"{indent}{name}:" if live else f"{indent}{name}: {{}}"
        yield from lines
    elif entries and isinstance(value, dict) and value:
        yield f"{indent}{name}:"
        yield from _listed(schema, entries, value, indent + "  ")
    elif value is None:
        yield f"{indent}# {name}:"
    else:
        yield f"{indent}{name}: {_flow(value)}"
    if item := _section(schema, _items(field)):
        yield f"{indent}# Each of {name}:"
        yield from _commented(_mapping(schema, item, {}, indent + "  "), indent)


def _items(field: Schema) -> Schema:
    """What a list holds, if a field is a list."""
    options = [field, *field.get("anyOf", [])]
    return next((option["items"] for option in options if isinstance(option.get("items"), dict)), {})


def _listed(schema: Schema, node: Schema, entries: dict[str, Any], indent: str) -> Iterator[str]:
    for number, (name, values) in enumerate(entries.items()):
        nested = any(isinstance(value, dict) for value in values.values())
        if number and not nested:
            yield f"{indent}{name}: {_flow(values)}"
            continue
        yield f"{indent}{name}:"
        if number:
            for key, value in values.items():
                yield from _key(schema, key, node["properties"][key], value, indent + "  ")
        else:
            yield from _mapping(schema, node, values, indent + "  ")


def _commented(lines: Iterator[str], indent: str) -> Iterator[str]:
    for line in lines:
        yield f"{indent}# {line[len(indent) :]}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _tables(schema: Schema) -> Iterator[str]:
    for title, node in [("The file", schema), *schema["$defs"].items()]:
        if "properties" not in node:
            continue
        yield f"### {title}\n"
        if node.get("description") and title != "The file":
            yield f"{_one_line(node['description'])}\n"
        yield "| key | value | default | meaning |\n|---|---|---|---|"
        for name, field in node["properties"].items():
            yield f"| `{name}` | {_kind(schema, field)} | {_default(node, name, field)} | {_meaning(schema, field)} |"
        yield ""


def _default(node: Schema, name: str, field: Schema) -> str:
    if name in node.get("required", []):
        return "required"
    default = field.get("default")
    # An empty section has the defaults of its keys, and they are in a table of their own.
    return "not set" if default is None else f"`{_flow({} if isinstance(default, dict) else default)}`"


def _kind(schema: Schema, field: Schema) -> str:
    kinds = [_one_kind(schema, option) for option in field.get("anyOf", [field])]
    return " or ".join(kind for kind in kinds if kind != "null")


def _one_kind(schema: Schema, option: Schema) -> str:
    if "anyOf" in option:
        return _kind(schema, option)
    if "$ref" in option:
        name = option["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in option or "const" in option:
        return " ".join(f"`{value}`" for value in option.get("enum", [option.get("const")]))
    if isinstance(option.get("additionalProperties"), dict):
        return f"mapping of name to {_kind(schema, option['additionalProperties'])}"
    if "prefixItems" in option:
        return f"`[{', '.join(_one_kind(schema, item) for item in option['prefixItems'])}]`"
    if option.get("type") == "array":
        return f"list of {_kind(schema, option.get('items', {}))}"
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping"}
    return "secret" if option.get("format") == "password" else words.get(option.get("type", ""), option.get("type", ""))


def _meaning(schema: Schema, field: Schema) -> str:
    section = _section(schema, field) or {}
    return _one_line(field.get("description") or section.get("description") or "")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _section(schema: Schema, field: Schema) -> Schema | None:
    """The model behind a field that holds one, else None."""
    options = [field, *field.get("anyOf", []), *field.get("allOf", [])]
    names = (option["$ref"].rpartition("/")[2] for option in options if "$ref" in option)
    found = (schema["$defs"][name] for name in names)
    return next((node for node in found if "properties" in node), None)


def _entries(schema: Schema, field: Schema) -> Schema | None:
    """The model of a mapping's entries, if a field is a mapping from names to models."""
    options = [field, *field.get("anyOf", [])]
    inner = (
        option["additionalProperties"] for option in options if isinstance(option.get("additionalProperties"), dict)
    )
    return next((found for found in (_section(schema, entry) for entry in inner) if found), None)


def main() -> None:
    """Write all files."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
