"""What an import has made so far: our configuration, and what has no equivalent in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from gateway.settings import seconds

Tree = dict[str, Any]

_ENVIRONMENT = re.compile(r"(?:os\.environ/|env\.)([A-Za-z_][A-Za-z0-9_]*)")


class Draft(Struct):
    """A configuration under construction.

    Attributes:
        providers: of our configuration, by name.
        models: likewise.
        settings: the other sections.
        notes: a line for each thing that was not taken over, beginning with its place in the imported file.
    """

    providers: dict[str, Tree] = field(default_factory=dict)
    models: dict[str, Tree] = field(default_factory=dict)
    settings: Tree = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tree(self) -> Tree:
        """The configuration, in the order in which one reads it."""
        models = {"models": self.models} if self.models else {}
        return {"providers": self.providers, **models, **self.settings}

    def note(self, place: str, why: str) -> None:
        """Tell that something was not taken over."""
        self.notes.append(f"{place}: {why}")

    def add_provider(self, adapter: str, settings: Tree) -> str:
        """The name of a provider with these settings: one that is there already, or a new one."""
        number = 1
        while True:
            name = adapter if number == 1 else f"{adapter}-{number}"
            section = settings if name == adapter else {"adapter": adapter, **settings}
            if self.providers.setdefault(name, section) == section:
                return name
            number += 1

    def text(self, value: Any, place: str, variable: str) -> str:
        """A text of theirs as ours: a variable of the environment as `${NAME}`. What may be a secret is never written.

        Args:
            value: as read.
            place: where it was read, for a note.
            variable: the environment variable to use in place of a secret that stands in the file.
        """
        named = _ENVIRONMENT.fullmatch(str(value))
        if named:
            return f"${{{named[1]}}}"
        self.note(place, f"the value itself is not written; put it into the environment variable {variable}")
        return f"${{{variable}}}"

    def address(self, value: Any) -> str:
        """A URL of theirs as ours."""
        named = _ENVIRONMENT.fullmatch(str(value))
        return f"${{{named[1]}}}" if named else str(value)

    def note_rest(self, place: str, section: Mapping[str, Any], known: frozenset[str], why: Mapping[str, str]) -> None:
        """Note every key of a section that was not taken over."""
        for key in section:
            if key not in known:
                self.note(f"{place}.{key}", why.get(key, "has no equivalent"))


def upper_bound(value: Any, bound: Any, usual: float) -> Any:
    """The upper bound to write for a duration of theirs: their own, or else the duration itself where ours would be
    less; None if ours does.

    Args:
        value: a number of seconds or a text with a unit; None if they have none.
        bound: their upper bound; None if they have none.
        usual: our default in seconds.
    """
    if bound is not None or value is None:
        return bound
    try:
        return value if float(seconds(value)) > usual else None
    except (TypeError, ValueError):
        return None  # What is wrong with it, `check` says.


def as_mapping(value: Any) -> Tree:
    """The mapping, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The list, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []
