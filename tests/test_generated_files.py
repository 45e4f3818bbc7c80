"""What is written by `make docs` is fresh, and the configurations that we ship are valid and complete."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway.config import loader as config
from gateway.routing.endpoints import base_urls, url_of
from providers.spec import HttpProvider

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config" / "gateway.example.yaml"
EXAMPLES = sorted((ROOT / "config").glob("*.yaml"))

_spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)
FILES = generate.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_is_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make docs`"


def environ(text: str) -> dict[str, str]:
    """A value for every variable that a file mentions."""
    return dict.fromkeys(re.findall(r"\$\{(\w+)", text), "a-key")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_shipped_configuration_is_valid(path: Path) -> None:
    config.load(path, environ(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_shipped_configuration_fits_the_schema_that_editors_use(path: Path) -> None:
    schema = json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_example_shows_every_key() -> None:
    schema = config.json_schema()
    keys = {key for node in [schema, *schema["$defs"].values()] for key in node.get("properties", {})}
    shown = set(re.findall(r"^[\s#-]*([\w.-]+):", EXAMPLE.read_text(encoding="utf-8"), re.M))
    assert keys <= shown


def test_every_key_has_a_meaning() -> None:
    schema = config.json_schema()
    for name, node in [("", schema), *schema["$defs"].items()]:
        for key, field in node.get("properties", {}).items():
            assert generate._meaning(schema, field), f"{name}.{key} has no description"


TABLES = {"docs/configuration.md": "\n".join(generate._tables(config.json_schema()))} | {
    name: part() for name, part in generate.PARTS.items() if name != "capacity_check"
}
"""What is generated. A check of the capacity model has cells for what it cannot be compared by."""


@pytest.mark.parametrize("name", TABLES)
def test_no_cell_of_a_table_is_empty_or_unfinished(name: str) -> None:
    rows = [line for line in TABLES[name].splitlines() if line.startswith("| ")]
    cells = [(row, cell.strip()) for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert cells
    assert [row for row, cell in cells if re.search(r"^$|\b(list of|name to|or)$", cell)] == []


def test_the_example_on_the_page_is_valid() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (text,) = re.findall(r'^```yaml title="gateway.yaml"\n(.*?)^```$', page, re.M | re.S)
    config.from_tree(yaml.safe_load(text.replace("${COHERE_API_KEY}", "k").replace("${TEAM_B_KEY}", "k")))


@pytest.mark.parametrize(
    ("base", "adapter", "url"),
    re.findall(
        r"^\| `?([^|`]+)`? \| `(\w+)` \| `(http[^`]+)` \|$",
        (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"),
        re.M,
    ),
)
def test_the_addresses_on_the_page_are_true(base: str, adapter: str, url: str) -> None:
    settings = {"api_key": "k"} if base == "none" else {"base_url": base}
    provider = {"adapter": adapter, **settings}
    loaded = config.from_tree({"providers": {"p": provider}})
    kind = loaded.adapter("p")
    assert isinstance(kind, HttpProvider)
    assert [url_of(kind, at) for at in base_urls(kind, loaded.providers["p"])] == [url]


def test_every_configuration_of_an_editor_is_allowed_to_use_variables() -> None:
    schema = json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8"))
    jsonschema.validate({"providers": {"cohere": {"api_key": "${COHERE_API_KEY}"}}}, schema)
