"""Hosts in network namespaces with a real Ray each, and Ray Serve on them, as docs/ray.md has it done."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

ROOT = Path(__file__).parents[2]
RAY = ROOT / ".venv-ray" / "bin"
"""The environment that `make test-ray` makes."""

GATEWAY_HOST = "10.77.0.254"
"""The host of the gateway and the tests, as the cluster sees it."""

LIMIT = 200.0
"""Seconds within which everything must happen: on a busy machine a replica takes a minute to start."""

CLIENT_SERVER = "ray.util.client.server"
"""What Ray starts for drivers on other machines. There are none here, and its memory is wanted."""

Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str, limit: float = LIMIT) -> Value:
    """What the condition gives once it is true. Raises AssertionError after `limit` seconds."""
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {limit:.0f} s: {what}"
        time.sleep(0.1)  # Others tell us nothing when they are ready.
    return value


def link(*arguments: str) -> None:
    """Run `ip`. Raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def open_network() -> None:
    """A switch that all hosts are on; the gateway's host is this namespace."""
    link("link", "set", "lo", "up")
    link("link", "add", "switch", "type", "bridge")
    link("address", "add", f"{GATEWAY_HOST}/24", "dev", "switch")
    link("link", "set", "switch", "up")


class Host:
    """A host of the cluster: a network and process ids of its own, and a cable to the switch.

    Args:
        number: from 1; the last part of its address.
        folder: for what Ray and HAProxy write. Its path must be short, since sockets are in it.
        variables: of the environment, which must be there before Ray starts.
    """

    def __init__(self, number: int, folder: Path, variables: dict[str, str]) -> None:
        self.address = f"10.77.0.{number}"
        self._cable = f"cable{number}"
        self._folder = folder / f"h{number}"
        self._folder.mkdir()
        self._environ = {**os.environ, **_environment(self._folder), **variables}
        namespaces = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
        self._holder = subprocess.Popen([*namespaces, "sleep", "infinity"])
        self._first = until(self._child, "the first process of a host", 60)
        self._plug_in(number)

    def _child(self) -> int:
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        return int(children.split()[0]) if children else 0

    def _plug_in(self, number: int) -> None:
        link("link", "add", self._cable, "type", "veth", "peer", "name", f"plug{number}")
        link("link", "set", f"plug{number}", "netns", str(self._first))
        link("link", "set", self._cable, "master", "switch", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", f"plug{number}")
        self.run("ip", "link", "set", f"plug{number}", "up")

    def run(self, *command: str | Path) -> str:
        """Run a command there. Gives its output; raises AssertionError, with the output, if it fails."""
        inside = ["nsenter", "--target", str(self._first), "--net", "--pid", "--mount"]
        done = subprocess.run(
            [*inside, *map(str, command)], env=self._environ, cwd=self._folder, capture_output=True, text=True
        )
        assert not done.returncode, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start_ray(self, head: Host | None = None, cpus: int = 4) -> None:
        """Start Ray, on the first host or on another one of its cluster."""
        place = ["--head", "--dashboard-host", "0.0.0.0"] if head is None else ["--address", f"{head.address}:6379"]
        limits = ["--num-cpus", str(cpus), "--object-store-memory", "80000000", "--disable-usage-stats"]
        folder = ["--temp-dir", str(self._folder)] if head is None else []
        without = ["--include-log-monitor", "false"]
        self.run(RAY / "ray", "start", *place, "--node-ip-address", self.address, *limits, *folder, *without)
        for pid in self.processes():
            if CLIENT_SERVER in command_line(pid):
                kill(pid)

    def cut_off(self) -> None:
        """Pull the cable: packets are lost, and nobody is told."""
        link("link", "set", self._cable, "down")

    def plug_back_in(self) -> None:
        link("link", "set", self._cable, "up")

    def kill(self) -> None:
        """End all its processes at once; its address then answers nothing."""
        self._holder.kill()
        self._holder.wait()

    def processes(self) -> list[int]:
        """Ids of its processes, as they are here."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_mine(pid)]

    def _is_mine(self, pid: int) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self._first}/ns/pid")
        except OSError:  # It has ended, or all have.
            return False

    def replicas(self) -> list[int]:
        """Ids of the processes of its replicas."""
        return [pid for pid in self.processes() if "ServeReplica:" in command_line(pid)]


class Cluster:
    """Ray Serve on hosts, with what `rerank-gateway ray` writes.

    Args:
        folder: of the files; its path must be short, since sockets are in it.
        tree: the gateway's configuration.

    Attributes:
        hosts: the first one is the head.
        tree: may be changed before `deploy`.
    """

    def __init__(self, folder: Path, tree: dict[str, Any]) -> None:
        self.hosts: list[Host] = []
        self.tree = tree
        self._folder = folder

    def start_host(self) -> Host:
        """Start another host, with Ray, in the environment that the written file asks for."""
        exports = re.findall(r"^#   export (\w+)=(.*)$", self._write(), re.MULTILINE)
        assert exports, "the file names no variables"
        variables = {name: shlex.split(value)[0] for name, value in exports}
        host = Host(len(self.hosts) + 1, self._folder, variables)
        self.hosts.append(host)
        host.start_ray(None if len(self.hosts) == 1 else self.hosts[0])
        return host

    def deploy(self, quicker: dict[str, float] | None = None) -> None:
        """Write the files, as a user would, and deploy them.

        Args:
            quicker: settings of Serve's autoscaling that a test cannot wait for.
        """
        serve = yaml.safe_load(self._write())
        for application in serve["applications"]:
            for deployment in application["deployments"]:
                deployment.get("autoscaling_config", {}).update(quicker or {})
        file = self._folder / "serve.yaml"
        file.write_text(yaml.safe_dump(serve), encoding="utf-8")
        self.hosts[0].run(RAY / "serve", "deploy", file)

    def status(self) -> dict[str, Any]:
        """Serve's own account of the application `local`; empty if it cannot be had now."""
        try:
            url = f"http://{self.hosts[0].address}:8265/api/serve/applications/"
            return dict(httpx.get(url, timeout=5, trust_env=False).json()["applications"]["local"])
        except (httpx.HTTPError, KeyError, ValueError):
            return {}

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until all replicas serve that are wanted, and the condition holds. Raises AssertionError, saying why."""
        try:
            until(lambda: self.status().get("status") in ("RUNNING", "DEPLOY_FAILED") and condition(), what)
            assert self.status().get("status") == "RUNNING", what
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.status(), indent=1)[:6000]}") from None

    def serving(self) -> int:
        """How many replicas serve now."""
        replicas = self.status().get("deployments", {}).get("Replicas", {}).get("replicas", [])
        return sum(replica["state"] == "RUNNING" for replica in replicas)

    def replicas(self) -> list[int]:
        """Ids of the processes of all replicas."""
        return [pid for host in self.hosts for pid in host.replicas()]

    def close(self) -> None:
        """End all hosts."""
        for host in self.hosts:
            host.kill()

    def _write(self) -> str:
        """What `rerank-gateway ray` writes of the configuration."""
        file = self._folder / "gateway.yaml"
        file.write_text(yaml.safe_dump(self.tree), encoding="utf-8")
        command = [sys.executable, "-m", "gateway", "ray", str(file)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def processor_seconds(pids: Sequence[int]) -> float:
    """What these processes have computed so far."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # It has ended.
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(pids: Sequence[int]) -> float:
    """Memory of these processes; what several share, each counts by its part (PSS)."""
    kilobytes = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # It has ended.
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _environment(folder: Path) -> dict[str, str]:
    """What keeps two Rays on one machine apart, and from the user's own files."""
    haproxy = folder / "haproxy"
    return {
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        # Tests cannot wait for half a minute whenever a proxy goes.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
    }
