"""Which server counts for several processes and hosts."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from gateway.settings import Seconds, Settings


class StoreSettings(Settings):
    """The Valkey or Redis server that holds counters for all processes and hosts."""

    url: SecretStr = Field(description="`redis://user:password@host:6379/0`, `rediss://` for TLS, or `unix://`.")
    timeout: Seconds = Field(default=0.25, gt=0, le=10, description="Seconds to wait for one call to the server.")
    when_down: Literal["fail_closed", "fail_open"] = Field(
        default="fail_closed",
        description="While the server cannot be reached: refuse requests with 503, or accept them without counting.",
    )

    @field_validator("url")
    @classmethod
    def _is_a_store(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not re.fullmatch(r"(redis|rediss|valkey|valkeys|unix)://[^\s\x00-\x1f\x7f]+", url):
            raise ValueError("must be a redis://, rediss://, valkey://, valkeys:// or unix:// URL")
        return SecretStr(re.sub(r"^valkey", "redis", url))
