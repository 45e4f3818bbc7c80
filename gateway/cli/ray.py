"""rerank-gateway ray"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.extras import missing_for_ray
from gateway.config.loader import read_scaled_providers
from gateway.config.locations import located
from gateway.config.root import Config
from gateway.ray_serve import files, kuberay


def add_to(commands: Any, path: str | None) -> None:
    """The grammar of the command."""
    command: ArgumentParser = commands.add_parser(
        "ray",
        help="write what a Ray cluster needs to serve the local models",
        description="Print the YAML with which Ray Serve serves each local provider that has `scale`, for `serve run` "
        "and `serve deploy`; or a manifest for KubeRay. Ray itself is not needed for this.",
    )
    command.add_argument(
        "file",
        metavar="FILE",
        nargs=None if path is None else "?",
        default=path,
        help="YAML configuration, at the path where the replicas find it",
    )
    command.add_argument(
        "--rayservice", action="store_true", help="print a RayService and its NetworkPolicy, for `kubectl apply -f -`"
    )
    command.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Print the file. Raises ConfigError."""
    config = read_scaled_providers(chosen.file, os.environ)
    with located(chosen.file):
        text = _manifest(config) if chosen.rayservice else _serve_file(config, str(Path(chosen.file).absolute()))
    print(text, end="")
    for sentence in _advice(config, Path(chosen.file).parent, chosen.rayservice):
        print(sentence, file=sys.stderr)
    return 0


def _advice(config: Config, folder: Path, in_image: bool) -> Iterator[str]:
    """What to think of before the file is used."""
    for place in files.beside(config, folder) if in_image else ():
        yield (
            f"warning: {place} is beside the configuration, and of that folder a pod has the configuration alone; "
            "name the folder that the model has in the image, or a model of the Hub"
        )
    for name in files.unguarded(config):
        yield f"warning: providers.{name} has no api_key: whoever reaches its replicas may use them"
    command = "" if in_image else missing_for_ray()
    if command:
        yield f"note: Ray is not installed here; on the hosts of the cluster run: {command}"


def _serve_file(config: Config, path: str) -> str:
    found = files.applications(config)
    # Where replicas differ in their processors, no number of threads is right for the whole host.
    scale = found[0].scale if len({each.scale.whole_cpus for each in found}) == 1 else None
    variables = files.environment(config, scale)
    exports = "".join(f"#   export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return (
        "# For Ray Serve; written by `rerank-gateway ray`. In the environment of every host, before Ray starts:\n"
        f"#\n{exports}#\n{files.dump(files.serve_config(config, path))}"
    )


def _manifest(config: Config) -> str:
    head = (
        "# For KubeRay; written by `rerank-gateway ray --rayservice`. It takes the configuration from the ConfigMap\n"
        f"# {kuberay.SERVICE} and the variables of a provider's section from the Secret of that name.\n"
    )
    return head + "---\n".join(files.dump(document) for document in kuberay.rayservice(config))
