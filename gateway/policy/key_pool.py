"""Several keys for one provider: weighted choice, and a cooldown for each key that the provider refuses or limits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace
from pydantic import AfterValidator, Field, SecretStr

from gateway.policy.clock import CLOCK, Clock
from gateway.policy.cooldown import Cooldown
from gateway.settings import Settings
from providers.attempts import RunningAttempt
from providers.errors import CredentialsRejected, RateLimited, TargetError
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)


def is_a_key(value: SecretStr) -> SecretStr:
    """The key, unchanged. Raises ValueError for one that cannot be sent in a header."""
    text = value.get_secret_value()
    if not text or not text.isascii() or not all("!" <= character <= "~" for character in text):
        raise ValueError("must not be empty or contain spaces, line breaks or non-ASCII characters")
    return value


Key = Annotated[SecretStr, AfterValidator(is_a_key)]


class ProviderKeySettings(Settings):
    """One of several keys for a provider."""

    name: str = Field(min_length=1, max_length=64, description="Name of the key in logs and errors.")
    key: Key = Field(description="The key.")
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Share of the calls, relative to the weights of the other keys."
    )


class KeyState:
    """What is known of one key. Pure: every method takes the time.

    Attributes:
        name, weight: as configured.
        cooldown: while it lasts, the key is not used.
        rejected: the provider refused it (401, 402, 403) and has not accepted it since.
    """

    __slots__ = ("cooldown", "name", "rejected", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.cooldown = Cooldown()
        self.rejected = False

    def record_refusal(self, now: float) -> bool:
        """Take the key out of use, longer each time. Returns True the first time, which is worth a log line."""
        self.cooldown.start(now)
        first, self.rejected = not self.rejected, True
        return first

    def record_rate_limit(self, now: float, seconds: float) -> None:
        """Take the key out of use for as long as the provider's `Retry-After` says."""
        self.cooldown.extend(now, seconds)

    def record_success(self) -> None:
        """Note that the provider accepted the key."""
        self.rejected = False


class KeyedBackend(Struct, frozen=True):
    """A backend that sends one key, and what is known of that key."""

    backend: Backend
    state: KeyState


def choose_key(keys: Sequence[KeyedBackend], now: float, chance: float) -> KeyedBackend | None:
    """One of the keys that are not cooling down, drawn by weight; None if there is none.

    Args:
        keys: to choose from.
        now: the clock's seconds.
        chance: from 0 up to, but not including, 1.
    """
    usable = [key for key in keys if key.state.cooldown.until <= now]
    point = chance * sum([key.state.weight for key in usable])
    for key in usable:
        point -= key.state.weight
        if point < 0:
            return key
    return usable[-1] if usable else None


class KeyPool:
    """One provider with all its keys. A key that is refused or rate limited cools down; the call tries the next key."""

    def __init__(self, keys: Sequence[KeyedBackend], provider: str, clock: Clock = CLOCK) -> None:
        self.keys = keys
        self._provider = provider
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the first key that the provider accepts.

        Raises:
            CredentialsRejected, RateLimited: no key can be used now; `retry_after` says when the next one can.
        """
        untried, key = self.keys, self._choose(self.keys)
        if key is None:
            raise self._no_usable_key()
        while True:
            attempt, tried = self._with_key(request, key.state.name)
            try:
                ranking = await key.backend.rerank(tried)
            except (CredentialsRejected, RateLimited) as error:
                self._cool_down(key.state, error)
                untried = [other for other in untried if other is not key]
                next_key = self._choose(untried)
                if next_key is None:
                    raise
                attempt.finish(error.status, f"key {key.state.name}: {error.message}", error.code)
                key = next_key
            else:
                if key.state.rejected:
                    self._restore(key.state)
                return ranking

    def _with_key(self, request: RerankRequest, key: str) -> tuple[RunningAttempt, RerankRequest]:
        """The attempt to make with this key, and the request for it: for telemetry every key is one of its own."""
        attempt = request.attempt or request.call.recorder.begin_attempt(self._provider, request.model)
        attempt = attempt.with_key(key)
        return attempt, request if attempt is request.attempt else replace(request, attempt=attempt)

    def _choose(self, keys: Sequence[KeyedBackend]) -> KeyedBackend | None:
        now = self._clock.now()
        if len(keys) == 1:
            return keys[0] if keys[0].state.cooldown.until <= now else None
        return choose_key(keys, now, self._clock.chance())

    def _restore(self, key: KeyState) -> None:
        key.record_success()
        logger.warning("provider %s accepts its key %s again", self._provider, key.name)

    def _cool_down(self, key: KeyState, error: TargetError) -> None:
        now = self._clock.now()
        if isinstance(error, RateLimited):
            key.record_rate_limit(now, error.retry_after or 0.0)
        elif key.record_refusal(now):
            logger.error(
                "provider %s refused its key %s (%s); it is out of use until the provider accepts it again",
                self._provider,
                key.name,
                error.status,
            )

    def _no_usable_key(self) -> TargetError:
        now = self._clock.now()
        left = min(key.state.cooldown.left(now) for key in self.keys)
        if all(key.state.rejected for key in self.keys):
            return CredentialsRejected(
                f'provider "{self._provider}" refused the gateway\'s own credentials or account; '
                f'next attempt in {left:.0f} s; check the keys configured for "{self._provider}"',
                retry_after=left,
            )
        return RateLimited(
            f'provider "{self._provider}" is rate limiting us; next attempt in {left:.1f} s',
            status=429,
            retry_after=left,
        )

    async def ready(self) -> bool:
        return any([await key.backend.ready() for key in self.keys])
