"""Put other people's scripts and styles into this repository: files of npm releases, with their licences and hashes.

    python .ci/vendor.py                          what each `integrity.json` pins, whole or not at all
    python .ci/vendor.py swagger-ui-dist 5.36.0   that release, pinned anew

npm only fetches the archives; nothing of them is installed or run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PINS = "integrity.json"

SWAGGER_UI = (
    "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui.css",
    "favicon-32x32.png",
    "LICENSE",
    "NOTICE",
)
PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    # The npm package: the folder for its files, and which files of the archive
    "swagger-ui-dist": ("gateway/api/openapi/swagger_ui", SWAGGER_UI),
    "preact": ("gateway/ui/vendor/preact", ("dist/preact.module.js", "LICENSE")),
    "htm": ("gateway/ui/vendor/htm", ("dist/htm.module.js", "LICENSE")),
    "@preact/signals-core": ("gateway/ui/vendor/signals", ("dist/signals-core.module.js", "LICENSE")),
    "uplot": ("gateway/ui/vendor/uplot", ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE")),
    "axe-core": ("tests/ui/axe", ("axe.min.js", "LICENSE", "LICENSE-3RD-PARTY.txt")),
}


def integrity(content: bytes) -> str:
    """The hash as npm and browsers write it: https://www.w3.org/TR/SRI/."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode("ascii")


def fetch(package: str, version: str) -> tuple[str, dict[str, bytes]]:
    """The integrity of the archive of a release, and the content of its files that are needed, by their last names."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True)  # noqa: S603, S607
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as members:
            files = {Path(name).name: _read(members, package, name) for name in PACKAGES[package][1]}
        return integrity(archive.read_bytes()), files


def _read(members: tarfile.TarFile, package: str, name: str) -> bytes:
    member = members.extractfile(f"package/{name}")
    if member is None:
        raise SystemExit(f"{package} has no file {name}")
    return member.read()


def describe(package: str, version: str, archive: str, files: dict[str, bytes]) -> dict[str, Any]:
    """What `integrity.json` holds."""
    hashes = {name: integrity(content) for name, content in files.items()}
    return {"package": package, "version": version, "archive": archive, "files": hashes}


def vendor(package: str, version: str | None) -> None:
    """Fetch a package, compare it with what is pinned unless a version is given, and only then write."""
    folder = ROOT / PACKAGES[package][0]
    pins = folder / PINS
    pinned = json.loads(pins.read_text("utf-8")) if pins.exists() else {}
    chosen = version or pinned["version"]
    archive, files = fetch(package, chosen)
    found = describe(package, chosen, archive, files)
    if version is None and found != pinned:
        raise SystemExit(f"{package} {chosen} is not what {pins} pins; nothing of it was written")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    pins.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def main(arguments: list[str]) -> None:
    """One package pinned anew, or all as they are pinned."""
    if arguments:
        vendor(*arguments)
        return
    for package in PACKAGES:
        vendor(package, None)


if __name__ == "__main__":
    main(sys.argv[1:])
