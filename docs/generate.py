"""Writes the parts of the documentation that come from the code: `make docs`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from docs import observability

FOLDER = Path(__file__).parent
PARTS: dict[str, Callable[[], str]] = {**observability.PARTS}
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """The page with every generated part as the code would have it now."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", text)


def main() -> None:
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            page.write_text(new, encoding="utf-8")
            print(f"{page.name} renewed")


if __name__ == "__main__":
    main()
