"""What every section of the configuration shares; a policy's own settings derive from it, in the policy's file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

UNLIMITED = 2**40
"""Where a limit must be given but none is wanted: more bytes, documents or calls than one machine can hold. Not the
largest integer, to which zlib could not add one."""


class Settings(BaseModel):
    """Unknown keys are problems, values never change, inputs never show in messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)
