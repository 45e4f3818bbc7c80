"""An adapter is a small file: what several of them need is in `providers/wire`."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from providers import adapters

FILES = sorted(Path(adapters.__file__).parent.glob("*.py"))
MAX_LINES = 70
"""Of code: blank lines, comments and docstrings are free."""
SPACE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in SPACE for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_lines_are_counted() -> None:
    assert lines_of_code('"""A module."""\n\n# why\nX = (\n    1,\n)\n') == 3


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_adapter_is_small(file: Path) -> None:
    assert lines_of_code(file.read_text(encoding="utf-8")) <= MAX_LINES
