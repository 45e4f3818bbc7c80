"""Put the hash of a new key where the old one's is, in a file that people write and comment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gateway.access.keys import AuthSettings, new_key
from gateway.cli.whole_file import replace_file
from gateway.config.loader import load
from gateway.suggestions import did_you_mean
from providers.errors import InvalidRequest


class Rotation(Struct, frozen=True):
    """A new key, its hash, and the file in which that is now."""

    key: str
    hash: str
    file: str


def rotate(path: Path, name: str, environ: Mapping[str, str]) -> Rotation:
    """Replace the key of that name.

    The hash is looked for as text, so that comments, order and style of the file stay as they are.

    Args:
        path: of the configuration. Its key file is looked through as well.
        name: of the key.
        environ: for `${VARIABLE}` in the configuration.

    Raises:
        ConfigError: the configuration is not valid; nothing is changed.
        InvalidRequest: there is no key of that name, or its hash is not written in these files.
        OSError: the file cannot be written.
    """
    auth = load(path, environ).auth or AuthSettings()
    hashes = {key.name: key.hash for key in auth.keys}
    if name not in hashes:
        raise InvalidRequest(f'no key is called "{name}"{did_you_mean(name, hashes)}')
    old = hashes[name].encode()
    for file in [path, *([path.parent / auth.file] if auth.file else [])]:
        content = file.read_bytes()
        if content.count(old) == 1:
            key, digest = new_key()
            replace_file(file, content.replace(old, digest.encode()))
            return Rotation(key, digest, str(file))
    raise InvalidRequest(
        f'the hash of "{name}" is not written in {path} (or not just once); make a key with '
        f"`rerank-gateway keys new {name}`, and put its hash where the old one is"
    )
