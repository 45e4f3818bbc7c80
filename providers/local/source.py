"""Where a model's files are: a folder, a folder inside an installed package, or a Hub repository. Standard library only
until something must be downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

from providers.errors import NotReady
from providers.spec import LocalModel

PACKAGE = "package:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
WEIGHTS = "model.safetensors"


def problems(model: LocalModel) -> list[str]:
    """What is wrong with a model's path, as far as can be seen without loading or network."""
    try:
        folder = local_folder(model.path)
    except NotReady as error:
        return [error.message]
    if folder is None:
        return []
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        return [f'"{model.path}" holds no model: neither config.json nor modules.json is there']
    return []


def local_folder(path: str) -> Path | None:
    """The folder that `path` names on this machine; None for the name of a Hub repository. Raises NotReady."""
    if path.startswith(PACKAGE):
        return _in_package(path.removeprefix(PACKAGE))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
        raise NotReady(f'the folder "{path}" does not exist')
    return None


def _in_package(place: str) -> Path:
    name, _, inside = place.partition("/")
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise NotReady(f'the package "{name}" is not installed; install it into the gateway\'s environment')
    folder = Path(found.submodule_search_locations[0], inside)
    if not folder.is_dir():
        raise NotReady(f'the package "{name}" holds no folder "{inside}"')
    return folder


def check_hash(folder: Path, expected: str | None) -> None:
    """Raises NotReady unless the weights in `folder` have the expected SHA-256 (None expects nothing)."""
    if expected is None:
        return
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise NotReady(f"sha256 is configured, but the model holds no {WEIGHTS}")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise NotReady(
            f"{WEIGHTS} has the SHA-256 {found}, not the configured {expected}: it is not the file you trust"
        )


def fetch(model: LocalModel) -> Path:
    """The folder of the model's files, downloaded and verified first if it is a Hub repository. Raises NotReady."""
    folder = local_folder(model.path) or _download(model)
    check_hash(folder, model.sha256)
    return folder


def _download(model: LocalModel) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(model.path, revision=model.revision, ignore_patterns=["onnx/*", "openvino/*"])
    except Exception as error:
        raise NotReady(f'"{model.path}" could not be downloaded: {type(error).__name__}: {error}') from error
    return Path(folder)
