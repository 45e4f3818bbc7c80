"""The base class of every section of the configuration, and the ways in which its values may be written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo

UNLIMITED = 2**40
"""Where a limit must be given but none is wanted: more bytes, documents or calls than one machine can hold. Not the
largest integer, to which zlib could not add one."""

FOLDER = "folder"
"""In the context of a validation: the folder of the configuration's file, to which names of files are relative."""

FILES = "files"
"""In the context of a validation: the set to which those of the files are added whose content is part of the values."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_NUMBER = r"\d+(?:\.\d+)?"
_DURATION_PART = re.compile(rf"({_NUMBER}) ?({'|'.join(sorted(_SECONDS, key=len, reverse=True))})(?![a-z]) ?")
_SIZE = re.compile(rf"({_NUMBER}) ?({'|'.join(_BYTES)})", re.IGNORECASE)
_PLAIN = re.compile(rf"[+-]?{_NUMBER}(?:e[+-]?\d+)?", re.IGNORECASE)


class Settings(BaseModel):
    """A section: unknown keys are errors, values cannot be changed, and errors never show values, which may be secret.

    Defaults are validated as well. A policy declares its settings in its own file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


def seconds(value: Any) -> Any:
    """The seconds in `500ms`, `30s` or `1h30m`; numbers are seconds already. Raises ValueError for other text."""
    if isinstance(value, bool) or (isinstance(value, str) and not _PLAIN.fullmatch(value.strip())):
        parts = _parts(value) if isinstance(value, str) else []
        if not parts:
            raise ValueError("must be a number of seconds, or a duration such as `500ms`, `30s`, `5m` or `1h30m`")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return value


def _parts(text: str) -> list[tuple[str, str]]:
    text = text.strip().lower()
    parts = _DURATION_PART.findall(text)
    return parts if not _DURATION_PART.sub("", text) else []


def size(value: Any) -> Any:
    """The bytes in `512KB`, `32MB` or `32MiB`; numbers are bytes already. Raises ValueError for other text."""
    if isinstance(value, bool) or (isinstance(value, str) and not _PLAIN.fullmatch(value.strip())):
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError("must be a number of bytes, or a size such as `512KB`, `32MB` or `32MiB`")
        return round(float(match[1]) * _BYTES[match[2].lower()])
    return value


def check_bound(settings: Settings, name: str, bound: str) -> None:
    """Raises ValueError if one of these durations was set to be longer than the other, which is meant to bound it."""
    value, limit = getattr(settings, name), getattr(settings, bound)
    if name in settings.model_fields_set and value > limit:
        default = "" if bound in settings.model_fields_set else " by default"
        told = f"{name}, {value:g} s, is more than {bound}, {limit:g} s{default}, its upper bound"
        raise ValueError(f"{told}; lower the one or raise the other")


def is_quoted(text: str) -> bool:
    """Whether quotes are around a text: of a shell or a file of variables, where they were not taken for quotes."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def in_folder(name: str, folder: Path | None) -> str:
    """The file's name with the folder before it, unless it is absolute; `~` is the user's home."""
    path = Path(name)
    if name.startswith("~/"):
        return str(path.expanduser())
    return name if folder is None or path.is_absolute() else str(folder / path)


def _beside_the_configuration(name: str, info: ValidationInfo) -> str:
    return in_folder(name, folder_of(info))


def note_file(name: str, info: ValidationInfo) -> None:
    """Remember that the configuration was read from this file too, so that a change of it is noticed."""
    files: set[Path] | None = (info.context or {}).get(FILES)
    if files is not None:
        files.add(Path(name))


def folder_of(info: ValidationInfo) -> Path | None:
    """The folder of the configuration's file; None if it comes from no file."""
    folder: Path | None = (info.context or {}).get(FOLDER)
    return folder


Seconds = Annotated[float, BeforeValidator(seconds, json_schema_input_type=float | str)]
"""A duration: a number of seconds, or text with units."""

Bytes = Annotated[int, BeforeValidator(size, json_schema_input_type=int | str)]
"""A size: a number of bytes, or text with a unit; `MB` is a million, `MiB` is 1024 times 1024."""

FileName = Annotated[str, AfterValidator(_beside_the_configuration)]
"""A file, relative to the one of the configuration."""
