"""Build what a release publishes: the source distribution, and the wheel from it.

    python .ci/dist.py                 into dist/, from the files that git knows
    python .ci/dist.py --tag v0.2.0    the same, if that is the version and CHANGELOG.md tells of it

Nothing that merely lies about in the checkout gets in. setuptools has to be installed; nothing is fetched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def check(tag: str) -> None:
    """Raises SystemExit unless this tree is ready to be released under that tag."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if tag != f"v{version}":
        raise SystemExit(f"the tag is {tag}, and pyproject.toml has version {version}: the tag must be v{version}")
    if not re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M):
        raise SystemExit(f'CHANGELOG.md has no section "## {version}": give "## Unreleased" that name')


def build() -> None:
    """Put both files into dist/, alone."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        copy_tracked(Path(folder))
        run("-c", BUILD_SDIST, str(DIST), cwd=Path(folder))
    (source,) = DIST.glob("*.tar.gz")
    run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(DIST), str(source), cwd=DIST)
    print(*sorted(path.name for path in DIST.iterdir()), sep="\n")


def copy_tracked(folder: Path) -> None:
    """Copy the files that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
    for name in filter(None, listed.decode("utf-8").split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def run(*arguments: str, cwd: Path) -> None:
    """Run Python without its chatter; on failure with all of it."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def main(arguments: Sequence[str]) -> None:
    """Check the tag, if there is one, and build."""
    parser = ArgumentParser(description="Build the source distribution and the wheel into dist/.")
    parser.add_argument("--tag", default="", help="the tag of the release; by default none is made")
    tag = parser.parse_args(arguments).tag
    if tag:
        check(tag)
    build()


if __name__ == "__main__":
    main(sys.argv[1:])
