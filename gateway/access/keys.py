"""Keys: their settings, and the table that turns a presented key into a principal.

A key is looked up in memory by its SHA-256 digest, and used for nothing else: no I/O, no parsing, no database query
(https://github.com/advisories/GHSA-r75f-5x8p-qvmc shows why). A plain hash is enough, since a key made here holds 256
random bits. Digests are compared in constant time, so that the time taken tells nothing about a key.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fnmatch import translate
from hashlib import sha256
from math import inf
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import BeforeValidator, Field, field_validator, model_validator

from gateway.access.limits import BudgetSettings, KeyLimitSettings
from gateway.errors import KeyMissing, ModelNotAllowed, Problem, Unauthorized
from gateway.settings import FileName, Settings

PREFIX = "rgw_"
"""The beginning of every key that is made here, by which secret scanners recognize it."""

_NO_DIGEST = bytes(32)
_REMEDY = "remove it, or set a later time"
_ALGORITHM = "sha256:"


class CallerKeySettings(Settings):
    """One key, stored as its hash."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Who the key belongs to; shown in usage and metrics."
    )
    hash: str = Field(description="The hash, as printed by `rerank-gateway keys new NAME`.")
    models: list[str] = Field(default=["*"], description="Models that the key may use; `*` matches any characters.")
    expires: datetime | None = Field(
        default=None, description="When the key stops working; a time without a zone is UTC."
    )
    admin: bool = Field(default=False, description="Whether the key may see the usage of all keys.")
    limits: KeyLimitSettings | None = Field(default=None, description="Rate limits of the key.")
    budget: BudgetSettings | None = Field(default=None, description="Budget of the key.")
    metadata: dict[str, str] = Field(default={}, description="Your own notes; the gateway ignores them.")

    @field_validator("hash")
    @classmethod
    def _is_a_hash(cls, value: str) -> str:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
            raise ValueError("must be `sha256:` and 64 hex digits, as `rerank-gateway keys new NAME` prints it")
        return value

    @field_validator("expires")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class AuthSettings(Settings):
    """The keys that callers need."""

    mode: Literal["keys", "none"] = Field(
        default="keys", description="`none` accepts requests without a key; usually written `auth: none`."
    )
    file: FileName | None = Field(
        default=None, description="YAML file with more keys: a mapping with `keys`, in the same form."
    )
    keys: list[CallerKeySettings] = Field(default=[], description="The keys that callers may use.")

    @model_validator(mode="after")
    def _are_distinct(self) -> AuthSettings:
        for field in ("name", "hash"):
            seen: set[str] = set()
            for key in self.keys:
                if getattr(key, field) in seen:
                    raise ValueError(f'two keys have the same {field}; the second is "{key.name}"')
                seen.add(getattr(key, field))
        return self

    def problems(self) -> list[Problem]:
        """What is wrong with the section as a whole."""
        if self.keys or self.mode == "none":
            return []
        return [Problem("auth.keys", "is empty; make a key with `rerank-gateway keys new NAME`, or write `auth: none`")]

    def expired(self, now: datetime) -> list[Problem]:
        """The keys that do not work any more. None of them keeps a gateway from starting: the others still work."""
        return [
            Problem(
                f"auth.keys.{index}.expires",
                f'"{key.name}" expired at {key.expires.isoformat()}; {_REMEDY}',
            )
            for index, key in enumerate(self.keys)
            if key.expires is not None and key.expires <= now
        ]


def _spelled_out(value: Any) -> Any:
    if isinstance(value, str) and value != "none":
        raise ValueError("must be the word `none`, or a mapping with `keys`")
    return {"mode": "none"} if value == "none" else value


AuthSection = Annotated[
    AuthSettings, BeforeValidator(_spelled_out, json_schema_input_type=AuthSettings | Literal["none"])
]
"""The section `auth`: keys, or the word `none`."""


class Principal(Struct, frozen=True, eq=False):
    """A caller, and what it may do.

    Attributes:
        name: the key's name; "" where callers need no key.
        digest: of the key.
        expires: seconds since the epoch.
        admin: may see everybody's usage.
        allows: whether a model's name is allowed; None allows all.
    """

    name: str = ""
    digest: bytes = _NO_DIGEST
    expires: float = inf
    admin: bool = False
    allows: Callable[[str], object] | None = None

    def may(self, model: str) -> bool:
        """Whether this key may ask for that model."""
        return self.allows is None or self.allows(model) is not None

    def check(self, *names: str) -> None:
        """Raises ModelNotAllowed for the first of these models that this key may not ask for."""
        if self.allows is None:
            return
        for name in names:
            if not self.may(name):
                raise ModelNotAllowed(f'this key may not use the model "{name[:200]}"; ask the operator to allow it')


ANYONE = Principal()
"""The caller where none needs a key. It cannot see any usage: that takes a key."""


class KeyTable:
    """All keys of one configuration."""

    def __init__(self, keys: Iterable[CallerKeySettings]) -> None:
        self._principals = {principal.digest: principal for principal in map(principal_of, keys)}

    def find(self, key: str | None) -> Principal:
        """The owner of that key. Raises Unauthorized, with one message for unknown and expired keys."""
        if key is None:
            raise KeyMissing("a key is required: send it as `Authorization: Bearer <key>`")
        digest = sha256(key.encode("utf-8", "surrogatepass")).digest()
        principal = self._principals.get(digest, ANYONE)
        if not hmac.compare_digest(principal.digest, digest) or principal.expires <= time.time():
            raise Unauthorized("the key is unknown or has expired")
        return principal


def principal_of(key: CallerKeySettings) -> Principal:
    """The principal that a configured key stands for."""
    return Principal(
        name=key.name,
        digest=bytes.fromhex(key.hash.removeprefix(_ALGORITHM)),
        expires=key.expires.timestamp() if key.expires else inf,
        admin=key.admin,
        allows=matcher(key.models),
    )


def matcher(patterns: Iterable[str]) -> Callable[[str], object] | None:
    """A function that tells whether a name matches one of the patterns; None if all names do."""
    globs = list(patterns)
    if "*" in globs:
        return None
    return re.compile("|".join(map(translate, globs)) or "(?!)").fullmatch


def new_key() -> tuple[str, str]:
    """A new key of 256 random bits, and its hash as the configuration wants it."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, hash_of(key)


def hash_of(key: str) -> str:
    """The hash by which the configuration knows a key."""
    return _ALGORITHM + sha256(key.encode()).hexdigest()
