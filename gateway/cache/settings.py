"""The section `cache`: scores that were given before are not asked for again."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from gateway.settings import Bytes, Seconds, Settings


class CacheSettings(Settings):
    """Keep scores, so that a document which a target has scored for the same query is not sent again."""

    ttl: Seconds = Field(
        default=3600.0, ge=1, le=30 * 86_400, description="Time for which a score is used again, as in `1h`."
    )
    max_bytes: Bytes = Field(
        default=64 * 1024 * 1024, ge=1024, description="Memory for scores in each process; the longest unused leave."
    )
    shared: bool = Field(
        default=False, description="Keep scores in the server of `store`, for all processes, in place of memory."
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="What keys are hashed with, the same in all processes that share; nobody without it can test for a "
        "text. Needed with `shared`; otherwise each process draws its own.",
    )

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if self.shared and self.secret is None:
            raise ValueError("needs a secret where it is shared, such as secret: ${CACHE_SECRET}")
        return self
