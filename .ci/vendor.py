"""Put Swagger UI into the package: the files of an npm release that the page of the API needs, with their hashes.

    python .ci/vendor.py            what `integrity.json` pins, whole or not at all
    python .ci/vendor.py 5.36.0     that release, pinned anew

npm only fetches the archive; nothing of it is installed or run.
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

FOLDER = Path(__file__).parent.parent / "gateway/api/openapi/swagger_ui"
PINS = FOLDER / "integrity.json"
PACKAGE = "swagger-ui-dist"
FILES = (
    "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui.css",
    "favicon-32x32.png",
    "LICENSE",
    "NOTICE",
)


def integrity(content: bytes) -> str:
    """The hash as npm and browsers write it: https://www.w3.org/TR/SRI/."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode("ascii")


def fetch(version: str) -> tuple[str, dict[str, bytes]]:
    """The integrity of the archive of a release, and the content of its files that are needed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{version}"], cwd=folder, check=True)  # noqa: S603, S607
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as members:
            files = {name: _read(members, name) for name in FILES}
        return integrity(archive.read_bytes()), files


def _read(members: tarfile.TarFile, name: str) -> bytes:
    member = members.extractfile(f"package/{name}")
    if member is None:
        raise SystemExit(f"{PACKAGE} has no file {name}")
    return member.read()


def describe(version: str, archive: str, files: dict[str, bytes]) -> dict[str, Any]:
    """What `integrity.json` holds."""
    hashes = {name: integrity(content) for name, content in files.items()}
    return {"package": PACKAGE, "version": version, "archive": archive, "files": hashes}


def main(arguments: list[str]) -> None:
    """Fetch, compare with what is pinned unless a version is given, and only then write."""
    pinned = json.loads(PINS.read_text("utf-8")) if PINS.exists() else {}
    version = arguments[0] if arguments else pinned["version"]
    archive, files = fetch(version)
    found = describe(version, archive, files)
    if not arguments and found != pinned:
        raise SystemExit(f"{PACKAGE} {version} is not what {PINS.name} pins; nothing was written")
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)
    PINS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
