"""Build the documentation site from the pages as they are in the repository: `build.py FOLDER`.

The pages are copied side by side as they stand, so that their links to one another, and to files beside them, hold.
Every warning is an error: a link that leads nowhere, a page that nothing leads to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", *("docs/**/*.md", "docs/*.svg"))
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")


def build(target: Path) -> int:
    """Write the site. The status of sphinx-build."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        for page in (page for pattern in PAGES for page in ROOT.glob(pattern)):
            _copy(page, source)
        shutil.copy(ROOT / ".ci/site/index.md", source)
        sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
        status = subprocess.run([*sphinx, "-c", str(ROOT / ".ci/site"), name, str(target)], check=False).returncode  # noqa: S603
    shutil.copy(ROOT / "docs/llms.txt", target)
    return status


def _copy(page: Path, source: Path) -> None:
    """Copy a page, and the files of the repository that it links to; a folder's page is its README."""
    place = source / page.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    if page.suffix != ".md":
        shutil.copy(page, place)
        return
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        linked = (page.parent / link).resolve()
        if linked.is_file() and linked.suffix != ".md":
            beside = source / linked.relative_to(ROOT)
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(linked, beside)
    if page.parent.name == "decisions" and page.name != "README.md":
        text = f"---\norphan: true\n---\n{text}"  # Its index is enough of a way there.
    place.write_text(re.sub(r"(\]\((?!https?:)[^)\s]+/)\)", r"\1README.md)", text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve()))
