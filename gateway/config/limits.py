"""The section `request_limits`: how large a request or an upstream's answer may be, and how often it is tried."""

from __future__ import annotations

from pydantic import Field

from gateway.errors import TooLarge
from gateway.settings import UNLIMITED, Bytes, Settings

MIB = 1024 * 1024

MAX_FALLBACKS = 16
"""Fallbacks of one request, whether its caller or the configuration names them."""


MAX_MEMBERS = 8
"""Models that one model is made of."""

MAX_MEMBER_CALLS = 32
"""Models that one request asks, where models are made of others that are made of others."""


class RequestLimitSettings(Settings):
    """Maximum sizes of a request and of an upstream's answer, and of attempts."""

    body_bytes: Bytes = Field(default=32 * MIB, ge=1024, description="Bytes of a request body, after decompression.")
    documents: int = Field(default=10_000, ge=1, description="Documents per request.")
    document_bytes: Bytes = Field(default=4 * MIB, ge=1, description="Bytes per document.")
    json_depth: int = Field(default=64, ge=3, le=200, description="Levels of nesting in the JSON of a request.")
    json_values: int = Field(
        default=500_000,
        ge=1000,
        description="Values in the JSON of a request: texts, numbers, objects, lists, at whatever depth.",
    )
    attempts: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="Calls of targets that one request may make in all: fallbacks, retries, hedges and further keys.",
    )
    answer_bytes: Bytes = Field(
        default=32 * MIB,
        ge=1024,
        description="Bytes of an upstream's answer body, after decompression, beyond the size of its request.",
    )

    def check_count(self, documents: int) -> None:
        """Raises TooLarge for more documents than the limit. To be called before any work is done for each."""
        if documents > self.documents:
            raise TooLarge(
                f"{documents} documents are more than the limit of {self.documents} (request_limits.documents); "
                "send them in several requests"
            )


NO_REQUEST_LIMITS = RequestLimitSettings(
    body_bytes=UNLIMITED,
    documents=UNLIMITED,
    document_bytes=UNLIMITED,
    json_depth=200,
    json_values=UNLIMITED,
    answer_bytes=UNLIMITED,
)
"""For a gateway whose callers have applied the limits. The depth stays bounded, as the stack is."""
