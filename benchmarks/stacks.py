"""Start and stop the servers that are compared, and the upstream behind them; all on loopback."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
KEY = "sk-benchmark-0123456789"
UPSTREAM_PORT = 8460
SERVER_CORE, LOAD_CORE = 0, 1
LITELLM = Path(".venv-litellm/bin/litellm")


class Server:
    """A process (with its children) pinned to one core, or to those of a list such as `0,1`."""

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        ready: str = "",
        cores: str = str(SERVER_CORE),
        **environment: str,
    ) -> None:
        self.name = name
        self.port = port
        if _answers(port, ""):
            raise RuntimeError(f"port {port} is taken; stop what listens there")
        variables = os.environ | {"BENCHMARK_UPSTREAM": upstream_url(), "BENCHMARK_KEY": KEY} | environment
        started = time.monotonic()
        self._process = subprocess.Popen(
            ["taskset", "-c", cores, *command],
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait(ready)
        self.start_seconds = time.monotonic() - started
        time.sleep(0.5)
        self.idle_megabytes = self.megabytes()

    def cpu_seconds(self) -> float:
        """CPU time of the process and its descendants so far."""
        ticks = sum(sum(map(int, stat[11:13])) for stat in self._stats())
        return ticks / os.sysconf("SC_CLK_TCK")

    def scheduled_seconds(self) -> tuple[float, float]:
        """For how long the processes ran so far, and for how long they could have run but had no core."""
        accounts = [_read(f"/proc/{stat[-1]}/schedstat", "0 0").split() for stat in self._stats()]
        return sum(int(each[0]) for each in accounts) / 1e9, sum(int(each[1]) for each in accounts) / 1e9

    def megabytes(self) -> float:
        """Resident memory of the process and its descendants, shared pages counted once (PSS)."""
        return sum(_pss(int(stat[-1])) for stat in self._stats()) / 1024

    def stop(self) -> None:
        """Stop the process and its children."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _stats(self) -> list[list[str]]:
        """The fields of /proc/PID/stat after the name, and the PID, of all processes of this session."""
        stats = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self._process.pid:
                stats.append([*fields, path.parent.name])
        return stats

    def _wait(self, path: str) -> None:
        for _ in range(6000):
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self._process.returncode}")
            if _answers(self.port, path):
                return
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"{self.name} was not ready within 60 s")


class Upstream:
    """The upstream, a C program (upstream.c), with one response and one delay at a time."""

    def __init__(self, folder: Path) -> None:
        self._program = compile_c(folder, "upstream")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self, documents: int, delay: float) -> None:
        """Answer every request with a ranking of that many documents after `delay` milliseconds."""
        self.stop()
        answer = self._folder / f"answer-{documents}.json"
        answer.write_text(_answer(documents))
        command = ["taskset", "-c", str(LOAD_CORE), self._program, str(UPSTREAM_PORT), str(delay), str(answer)]
        self._process = subprocess.Popen(command)
        while not _answers(UPSTREAM_PORT, ""):
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def upstream_url() -> str:
    """The URL of the upstream."""
    return f"http://127.0.0.1:{UPSTREAM_PORT}"


def compile_c(folder: Path, name: str) -> str:
    """Compile benchmarks/NAME.c; returns the path of the program."""
    program = folder / name
    subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / f"{name}.c"), "-lm"], check=True)
    return str(program)


def gateway(folder: Path) -> Server:
    """This gateway, one worker."""
    config = os.environ.get("BENCHMARK_CONFIG", str(HERE / "gateway.yaml"))
    command = [sys.executable, "-m", "gateway", "serve", "--config", config, "--port", "8461"]
    return Server("gateway", command, 8461, "/readyz")


def bare(folder: Path) -> Server:
    """A bare ASGI pass-through on uvicorn."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--port", "8462", "--no-access-log"]
    command += ["--log-level", "warning", "--lifespan", "off"]
    return Server("bare", command, 8462, BENCHMARK_UPSTREAM=f"{upstream_url()}/v2/rerank")


def nginx(folder: Path) -> Server:
    """nginx proxy_pass with a pool of connections, one worker."""
    config = folder / "proxy.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/proxy.pid; error_log /dev/null crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0; client_body_buffer_size 8m;
  proxy_buffers 64 16k; proxy_buffer_size 16k; proxy_busy_buffers_size 64k;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream up {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:8463;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}""")
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(config)]
    return Server("nginx", command, 8463)


def litellm(folder: Path) -> Server:
    """The LiteLLM proxy of .venv-litellm, one worker."""
    config = str(HERE / "litellm.yaml")
    command = [str(LITELLM), "--config", config, "--port", "8464", "--host", "127.0.0.1", "--num_workers", "1"]
    production = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "DISABLE_ADMIN_UI": "true"}
    return Server("litellm", command, 8464, "/health/liveliness", LITELLM_LOCAL_MODEL_COST_MAP="True", **production)


STACKS: Mapping[str, Callable[[Path], Server]] = {
    "nginx": nginx,
    "bare": bare,
    "gateway": gateway,
    "litellm": litellm,
}


def missing(names: list[str]) -> list[str]:
    """Sentences that say what must be installed first."""
    needed = {
        "taskset": "taskset is missing: install util-linux",
        "wrk": "wrk is missing: install your system's wrk package",
        "cc": "cc is missing: install a C compiler",
    }
    if "nginx" in names:
        needed["nginx"] = "nginx is missing: install your system's nginx package, or leave it out with --stacks"
    absent = [sentence for program, sentence in needed.items() if not shutil.which(program)]
    if "litellm" in names and not LITELLM.exists():
        absent.append(
            "LiteLLM is missing: python -m venv .venv-litellm && .venv-litellm/bin/pip install 'litellm[proxy]', "
            "or leave it out with --stacks"
        )
    return absent


def _answer(documents: int) -> str:
    results = ",".join(f'{{"index":{i},"relevance_score":{0.99 - i / 2000:.7f}}}' for i in reversed(range(documents)))
    meta = '{"api_version":{"version":"2"},"billed_units":{"search_units":1}}'
    return f'{{"id":"07734bd2-2473-4f07-94e1-0d9f0e6843cf","results":[{results}],"meta":{meta}}}'


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
        if not path:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _read(path: str, otherwise: str) -> str:
    """The file of a process that may have ended meanwhile."""
    try:
        return Path(path).read_text()
    except OSError:
        return otherwise


def _pss(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup", "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
