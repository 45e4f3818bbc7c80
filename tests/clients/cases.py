"""What every client must be able to do, whichever package it is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

MODEL = "local/all-minilm-l6-v2"
DOCUMENTED_MODEL = "local/ms-marco-minilm-l12"
"""What docs/clients.md asks for. The tests ask for the model that every installation has."""

QUERY = "What is the capital of France?"
DOCUMENTS = [
    "Horses and cows are both animals.",
    "The capital of Brazil is Brasilia.",
    "The capital of France is Paris.",
]
ORDER = [2, 1, 0]

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"


@dataclass(frozen=True)
class Row:
    """One result, as the client gave it. `text` is None where it gave no document."""

    index: int
    score: float
    text: str | None = None


@dataclass(frozen=True)
class Gateway:
    """Where to call and with what."""

    url: str
    key: str
    model: str = MODEL

    def snippet(self, name: str) -> str:
        """The snippet of docs/clients.md of that name, for this gateway and key."""
        text: str = re.findall(rf"^```\w+ {re.escape(name)}\n(.*?)\n```$", PAGE.read_text(), re.M | re.S)[0]
        for written, meant in (("http://localhost:8080", self.url), ("KEY", self.key), (DOCUMENTED_MODEL, self.model)):
            text = text.replace(written, meant)
        return text

    def run(self, name: str, **names: Any) -> dict[str, Any]:
        """Execute what makes the client, the first paragraph after the imports; gives all names afterwards."""
        paragraphs = self.snippet(name).split("\n\n")
        exec(next(text for text in paragraphs if not text.startswith(("import ", "from "))), names)
        return names


Rank = Callable[..., list[Row]]
"""(gateway, query, top_n or None, whether documents are wanted) → what the client gave."""


@dataclass(frozen=True)
class Client:
    """One way to call.

    Attributes:
        rank: as above.
        unknown_model, no_query, wrong_key: what the client raises; None where it cannot come to that.
        echoes: whether it can give documents back.
        says: whether its errors carry our sentence.
    """

    rank: Rank
    unknown_model: Any
    no_query: Any
    wrong_key: Any
    echoes: bool = True
    says: bool = True
    sentences: dict[str, str] = field(
        default_factory=lambda: {"unknown_model": "nope/none", "no_query": "query", "wrong_key": "key"}
    )


def test_best_first(client: Client, gateway: Gateway) -> None:
    rows = client.rank(gateway, QUERY, None, False)
    assert [row.index for row in rows] == ORDER
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert rows[0].score > rows[1].score


def test_no_more_than_asked_for(client: Client, gateway: Gateway) -> None:
    assert [row.index for row in client.rank(gateway, QUERY, 2, False)] == ORDER[:2]


def test_documents_come_back(client: Client, gateway: Gateway) -> None:
    if not client.echoes:
        pytest.skip("this client never has documents in a result")
    assert [row.text for row in client.rank(gateway, QUERY, None, True)] == [DOCUMENTS[index] for index in ORDER]


@pytest.mark.parametrize("case", ["unknown_model", "no_query", "wrong_key"])
def test_an_error_is_the_client_s_own(case: str, client: Client, gateway: Gateway) -> None:
    expected = getattr(client, case)
    if expected is None:
        pytest.skip("this client cannot come to that")
    changed = {"unknown_model": {"model": "nope/none"}, "wrong_key": {"key": "wrong"}}.get(case, {})
    with pytest.raises(expected) as raised:
        client.rank(replace(gateway, **changed), "" if case == "no_query" else QUERY, None, False)
    assert type(raised.value) is expected or expected in (RuntimeError, Exception)
    if client.says:
        assert re.search(client.sentences[case], said(raised.value))


def said(error: BaseException) -> str:
    """All that an error tells."""
    return f"{error} {getattr(error, 'body', '')} {getattr(error, 'message', '')}"


os.environ.setdefault("LITELLM_LOG", "CRITICAL")
