"""The section `limits`: how large a request or an upstream's answer may be."""

from __future__ import annotations

from pydantic import Field

from gateway.settings import Settings

MIB = 1024 * 1024


class RequestLimitsSettings(Settings):
    """How large a request or an upstream's answer may be."""

    body_bytes: int = Field(default=32 * MIB, ge=1024, description="Bytes of a request's body, after decompression.")
    documents: int = Field(default=10_000, ge=1, description="Documents of one request.")
    document_bytes: int = Field(default=4 * MIB, ge=1, description="Bytes of one document.")
    json_depth: int = Field(default=64, ge=3, le=200, description="Levels of nesting in a request's JSON.")
    answer_bytes: int = Field(
        default=32 * MIB, ge=1024, description="Bytes of an upstream's answer, after decompression."
    )
