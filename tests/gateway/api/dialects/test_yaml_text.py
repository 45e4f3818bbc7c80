"""Structured documents are the YAML that PyYAML writes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.dialects.unified.yaml_text import to_yaml

STYLE: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 1_000_000}


def by_library(document: Any) -> str:
    """With libyaml, unless that would escape characters which need no escape."""
    fast = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    text: str = yaml.dump(document, Dumper=fast, **STYLE)
    return by_python(document) if "\\U" in text else text


def by_python(document: Any) -> str:
    text: str = yaml.dump(document, Dumper=yaml.SafeDumper, **STYLE)
    return text


WORDS = [
    "yes", "null", "~", "1e3", "0x1f", "2020-01-01", "---", "... a", "<<", "=", "12:30", ".5", "- a", "a: b", "a #b",
]  # fmt: skip
ODD = "ab19 -:#?'\"\n\t\\,[]{}&*!|>%@`.~=<\x00\x7f\xa0é漢\u2028\u2029\ufeff\uffff"


def documents(keys: st.SearchStrategy[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    values = st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )
    return st.dictionaries(keys, values, min_size=1, max_size=4)


plane = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
texts = (
    st.sampled_from([*WORDS, "k" * 130, "é" * 65]) | st.text(ODD + "\x85\r", max_size=8) | st.text(plane, max_size=12)
)


@given(documents(texts, texts))
def test_the_text_is_libyamls(document: dict[str, Any]) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(document))
    assert to_yaml(decoded) == yaml.dump(document, Dumper=yaml.CSafeDumper, **STYLE)


beyond = st.sampled_from(WORDS) | st.text(ODD + "😀\U0010fffe", min_size=1, max_size=8)


@given(documents(beyond, beyond))
def test_the_text_beyond_the_basic_plane_is_pyyamls(document: dict[str, Any]) -> None:
    """With empty and long keys, U+000D and U+0085, PyYAML and libyaml differ: there it is libyaml's."""
    assert to_yaml(document) == by_python(document)


ORDINARY: dict[str, tuple[Any, str]] = {
    "fields": ({"title": "Night lamp", "price": 19.9, "stock": 3, "sale": True, "note": None},
               "title: Night lamp\nprice: 19.9\nstock: 3\nsale: true\nnote: null\n"),
    "an emoji": ({"title": "lamp 😀", "b": 1}, "title: lamp 😀\nb: 1\n"),
    "lists": ({"tags": ["a", "b"], "empty": [], "none": {}}, "tags:\n- a\n- b\nempty: []\nnone: {}\n"),
    "nested": ({"a": {"b": [{"c": 1, "d": [[1, 2]]}]}}, "a:\n  b:\n  - c: 1\n    d:\n    - - 1\n      - 2\n"),
    "lines": ({"text": "one\ntwo\n\nthree"}, "text: 'one\n\n  two\n\n\n  three'\n"),
    "a tab": ({"text": "a\tb"}, 'text: "a\\tb"\n'),
    "looks like something else": ({"zip": "01234", "day": "2024-05-01", "yes": "no"},
                                  "zip: '01234'\nday: '2024-05-01'\n'yes': 'no'\n"),
    "a quote": ({"text": "it's: so"}, "text: 'it''s: so'\n"),
    "an empty key": ({"": ""}, "'': ''\n"),
    "a long key": ({"k" * 130: ["a"]}, "? " + "k" * 130 + "\n: - a\n"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "text"), ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_document(document: dict[str, Any], text: str) -> None:
    assert to_yaml(document) == text == by_library(document)
