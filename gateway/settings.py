"""The base class of every section of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

UNLIMITED = 2**40
"""Where a limit must be given but none is wanted: more bytes, documents or calls than one machine can hold. Not the
largest integer, to which zlib could not add one."""


class Settings(BaseModel):
    """A section: unknown keys are errors, values cannot be changed, and errors never show values, which may be secret.

    Defaults are validated as well. A policy declares its settings in its own file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)
