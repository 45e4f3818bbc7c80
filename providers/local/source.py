"""Finds, downloads and verifies a model's files.

They are in a folder, in a folder inside an installed package, in that of a model that was installed by name, or in a
repository of the Hugging Face Hub. Only a download imports more than the standard library.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from providers.errors import NotReady
from providers.local.builtin import catalogue, store
from providers.local.builtin.catalogue import INSTALLED, BuiltInModel
from providers.spec import LocalModel

PACKAGE = "package:"
"""Begins the path of a folder inside an installed Python package, as in `package:import_name/folder`."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
SHA256 = re.compile(r"[0-9a-f]{64}")
WEIGHTS = "model.safetensors"
OTHER_FORMATS = ["onnx/*", "openvino/*", "*.onnx", "*.gguf", "*.h5", "*.msgpack", "*.ot"]
"""Files of a repository that are not downloaded, because torch does not read them."""


def problems(model: LocalModel) -> list[str]:
    """What is wrong with a model's path or hash, as far as can be seen without loading or network."""
    if found := problems_of_path(model.path):
        return found
    try:
        folder = local_folder(model.path)
        if folder is not None:
            verify(folder, model.path, model.sha256)
    except NotReady as error:
        return [error.message]
    return []


def problems_of_path(path: str) -> list[str]:
    """What is wrong with a path, as sentences. Reads no file."""
    try:
        folder = local_folder(path)
    except NotReady as error:
        return [error.message]
    if folder is None:
        return []
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        return [f'"{path}" holds no model: neither config.json nor modules.json is there']
    return []


def built_in_models() -> list[BuiltInModel]:
    """The models that come with the gateway and are on this machine, the best one first."""
    return [model for model in catalogue.MODELS if not problems_of_path(model.path)]


def local_folder(path: str) -> Path | None:
    """The folder that `path` names on this machine; None for the name of a Hub repository. Raises NotReady."""
    if path.startswith(PACKAGE):
        return _folder_in_package(path.removeprefix(PACKAGE))
    if path.startswith(INSTALLED):
        return store.installed_folder(path.removeprefix(INSTALLED))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
        raise NotReady(f'the folder "{path}" does not exist')
    return None


def weights_size(path: str) -> int | None:
    """Bytes of the weights of a model on this machine; None for one of the Hub, or that is not there."""
    try:
        folder = local_folder(path)
    except NotReady:
        return None
    files = [file for kind in ("*.safetensors", "*.bin") for file in (folder.rglob(kind) if folder else ())]
    return sum(file.stat().st_size for file in files) or None


def _folder_in_package(place: str) -> Path:
    name, _, inside = place.partition("/")
    # Unlike an import this runs no code of the package.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise NotReady(f'the package "{name}" is not installed; install it into the gateway\'s environment')
    folder = Path(spec.submodule_search_locations[0], inside)
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
    actual = sha256_of(weights)
    if actual != expected.lower():
        raise NotReady(
            f"{WEIGHTS} has the SHA-256 {actual}, not the configured {expected}: it is not the file you trust"
        )


def check_download(folder: Path) -> None:
    """Raises NotReady if a downloaded file is not what the Hub expected_hash.

    The Hub's cache keeps each large file under its SHA-256 and links to it, so this needs no network and finds a file
    that was cut short or changed on disk.
    """
    for file in sorted(folder.rglob("*")):
        expected_hash = file.resolve().name
        if file.is_symlink() and SHA256.fullmatch(expected_hash) and sha256_of(file) != expected_hash:
            raise NotReady(f"{file.name} was not downloaded whole or was changed since; delete {file.resolve()}")


def sha256_of(file: Path) -> str:
    """The file's SHA-256 in lower-case hexadecimal digits."""
    status = file.stat()
    return _sha256(file, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=256)
def _sha256(file: Path, stamp: tuple[int, ...]) -> str:
    """Cached while the file is the same: it is asked for when the configuration is checked, and before loading."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(model: LocalModel) -> Path:
    """The folder of the model's files, downloaded first if it is a Hub repository, and verified. Raises NotReady."""
    folder = local_folder(model.path)
    if folder is None:
        folder = _download(model)
        check_download(folder)
    verify(folder, model.path, model.sha256)
    return folder


def verify(folder: Path, path: str, sha256: str | None) -> None:
    """Raises NotReady unless the weights have that hash, and an installed model's files are all what they should be."""
    if path.startswith(INSTALLED):
        store.check_installed(path.removeprefix(INSTALLED))
    check_hash(folder, sha256)


def _download(model: LocalModel) -> Path:
    """Download what is not cached yet, showing progress on the terminal."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.path, revision=model.revision, ignore_patterns=OTHER_FORMATS))
    except Exception as error:
        raise NotReady(f'"{model.path}" could not be downloaded: {type(error).__name__}: {error}') from error
