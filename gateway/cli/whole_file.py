"""Write a file whole or not at all: whoever reads it meanwhile sees the old content or the new."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile


def replace_file(path: Path, content: bytes) -> None:
    """Replace the content of a file that is there; its permissions stay. Raises OSError, naming the file."""
    real = path.resolve()
    try:
        with NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as fresh:
            fresh.write(content)
        try:
            shutil.copymode(real, fresh.name)
            os.replace(fresh.name, real)
        except OSError:
            os.unlink(fresh.name)
            raise
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None


def create_file(path: Path, content: bytes, may_replace: bool) -> None:
    """Write a new file. Raises OSError, naming the file: also for one that is there, unless it may be replaced."""
    try:
        with path.open("wb" if may_replace else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise OSError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None
