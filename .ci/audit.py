"""Ask for known vulnerabilities of everything that is locked, and of torch and what came with it, as installed.

Fails if there are any; skips, visibly, if offline.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

Package = dict[str, Any]
SECONDS = 90
AUDIT = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "-f", "json"]
# What the image without the engine holds is a part of the first.
LOCKS = ("requirements.lock", "requirements-dev.lock")
UNLOCKED = {"torch", "triton", *Path(".ci/with-torch.txt").read_text("utf-8").split()}


def unlocked() -> str:
    """Requirements with the installed versions of what no lock holds. `+cpu` is no version that anybody reports on."""
    found = {each.name.lower(): each.version.partition("+")[0] for each in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name in UNLOCKED)


def ask(*files: str) -> list[Package]:
    """What is known of the packages in these requirement files. Raises SubprocessError, ValueError, KeyError."""
    arguments = [word for file in files for word in ("-r", file)]
    done = subprocess.run([*AUDIT, *arguments], check=False, capture_output=True, timeout=SECONDS, text=True)  # noqa: S603
    packages: list[Package] = json.loads(done.stdout)["dependencies"]
    return packages


def ask_for_all() -> list[Package]:
    """The locks have hashes, torch has none: pip-audit takes no mixture."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as installed:
        installed.write(unlocked())
        installed.flush()
        return ask(*LOCKS) + ask(installed.name)


def main() -> int:
    """Returns 1 if one of these packages has a known vulnerability."""
    try:
        packages = ask_for_all()
    except (subprocess.SubprocessError, ValueError, KeyError):
        print("audit: skipped, nobody can be asked for known vulnerabilities from here")
        return 0
    found = [(package["name"], package["version"], entry) for package in packages for entry in package.get("vulns", ())]
    for name, version, entry in found:
        print(f"audit: {name} {version} has {entry['id']}; fixed in {', '.join(entry['fix_versions']) or 'no version'}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    print(f"audit: {len(packages) - len(unknown)} packages looked up, {len(found)} known vulnerabilities")
    if unknown:
        print(f"audit: nothing could be looked up for {len(unknown)} more, such as {unknown[-1]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
