"""Run the tests in this folder in namespaces of their own, so that whatever they start ends with them.

Ray opens ports and leaves a dozen processes; in namespaces of network and process ids nobody else can reach the former,
and the kernel ends the latter when the tests end, however they do. Needs Linux, and root or user namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NETWORK = "10.77.0.0/24"
"""Of the hosts in tests/ray_serve/cluster.py."""
NAMESPACES = ["--net", "--pid", "--mount-proc", "--fork", "--kill-child"]


def unshare() -> list[str] | None:
    """The command before another that puts it into namespaces; None where that is not possible."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *as_root, *NAMESPACES]
    if not shutil.which("unshare") or not shutil.which("ip"):
        return None
    # A switch and cables are needed, too, which not every kernel has.
    probe = ["sh", "-c", "ip link add switch type bridge && ip link add cable type veth peer name plug"]
    return None if subprocess.run([*command, *probe], capture_output=True).returncode else command


def main() -> int:
    """Exit with pytest's status; with 0 where there are no namespaces, which is said."""
    command = unshare()
    if command is None:
        print("tests/ray_serve: SKIPPED, since they need unshare and ip, and root or user namespaces")
        return 0
    pytest = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "--timeout", "600", str(HERE)]
    return subprocess.run(
        [*command, *pytest, *sys.argv[1:]], env={**os.environ, "TESTS_OWN_NETWORK": NETWORK}
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
