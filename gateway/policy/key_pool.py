"""Several keys for one provider: weighted choice, and a cooldown for each key that the provider refuses or limits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace
from pydantic import AfterValidator, Field, SecretStr

from gateway.errors import KeysCooling, KeysRejected
from gateway.policy.clock import CLOCK, Clock
from gateway.policy.key_state import KeyState
from gateway.settings import Settings, is_quoted
from providers.attempts import RunningAttempt
from providers.errors import CredentialsRejected, RateLimited, TargetError
from providers.types import Backend, Ranking, RerankRequest

logger = logging.getLogger(__name__)

_MAYBE_THE_REQUEST = frozenset({402, 403})
"""Statuses that may be about the account, its right to one model, or a document that a firewall dislikes."""


def is_a_key(value: SecretStr) -> SecretStr:
    """The key, unchanged. Raises ValueError for one that cannot be sent in a header."""
    text = value.get_secret_value()
    if is_quoted(text):
        raise ValueError("is still in quotes, which would be sent as well; write or set it without them")
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


class KeyedBackend(Struct, frozen=True):
    """A backend that sends one key, and what is known of that key."""

    backend: Backend
    state: KeyState


def choose_key(keys: Sequence[KeyedBackend], model: str, now: float, chance: float) -> KeyedBackend | None:
    """One of the keys that do not cool down for that model, drawn by weight; None if there is none.

    Args:
        keys: to choose from.
        model: that is asked.
        now: the clock's seconds.
        chance: from 0 up to, but not including, 1.
    """
    usable = [key for key in keys if key.state.until(model) <= now]
    point = chance * sum([key.state.weight for key in usable])
    for key in usable:
        point -= key.state.weight
        if point < 0:
            return key
    return usable[-1] if usable else None


class KeyPool:
    """One provider with all its keys. A key that is refused or rate limited cools down; the call tries the next key.

    A call marked `bypass_cooldowns` is made though all keys cool down, with the one that is the first to be usable
    again: that request has no other target left.
    """

    def __init__(self, keys: Sequence[KeyedBackend], provider: str, clock: Clock = CLOCK) -> None:
        self.keys = keys
        self._provider = provider
        self._clock = clock

    async def rerank(self, request: RerankRequest) -> Ranking:
        """The ranking of the first key that the provider accepts.

        Raises:
            KeysRejected, KeysCooling: no key can be used now; `retry_after` says when the next one can.
            CredentialsRejected, RateLimited: what the provider said to the last key.
        """
        model, untried = request.model, self.keys
        key = self._choose(self.keys, model) or self._least_bad(request)
        while True:
            attempt, tried = self._with_key(request, key.state.name)
            try:
                ranking = await key.backend.rerank(tried)
            except (CredentialsRejected, RateLimited) as error:
                self._cool_down(key.state, error, request)
                untried = [other for other in untried if other is not key]
                next_key = self._choose(untried, model)
                if next_key is not None and not await request.call.take_attempt():
                    raise
                if next_key is None:
                    raise
                attempt.finish(error.status, f"key {key.state.name}: {error.message}", error.code)
                key = next_key
            else:
                if not key.state.is_clean and key.state.record_success(model, self._clock.now()):
                    logger.warning("provider %s accepts its key %s again", self._provider, key.state.name)
                return ranking

    def _with_key(self, request: RerankRequest, key: str) -> tuple[RunningAttempt, RerankRequest]:
        """The attempt to make with this key, and the request for it: for telemetry every key is one of its own."""
        attempt = request.attempt or request.call.recorder.begin_attempt(self._provider, request.model)
        attempt = attempt.with_key(key)
        return attempt, request if attempt is request.attempt else replace(request, attempt=attempt)

    def _choose(self, keys: Sequence[KeyedBackend], model: str) -> KeyedBackend | None:
        if len(keys) == 1 and keys[0].state.is_clean:
            return keys[0]  # The usual case, without the cost of looking at the clock.
        now = self._clock.now()
        if len(keys) == 1:
            return keys[0] if keys[0].state.until(model) <= now else None
        return choose_key(keys, model, now, self._clock.chance())

    def _least_bad(self, request: RerankRequest) -> KeyedBackend:
        """Of keys that all cool down the one to ask nevertheless, if the request may."""
        if not request.call.bypass_cooldowns:
            raise self._no_usable_key(request.model)
        model = request.model
        return min(self.keys, key=lambda key: (key.state.is_rejected(model), key.state.until(model)))

    def _cool_down(self, key: KeyState, error: TargetError, request: RerankRequest) -> None:
        now = self._clock.now()
        if isinstance(error, RateLimited):
            key.record_rate_limit(request.model, now, error.retry_after or 0.0)
            return
        if error.status in _MAYBE_THE_REQUEST:
            is_news, scope = key.record_refusal(request.model, _fingerprint(request), now), f" for {request.model}"
        else:
            is_news, scope = key.record_unauthorized(now), ""
        if is_news:
            logger.error(
                "provider %s refused its key %s%s (%s); it is out of use until the provider accepts it again",
                self._provider,
                key.name,
                scope,
                error.status,
            )

    def _no_usable_key(self, model: str) -> TargetError:
        now = self._clock.now()
        remaining = max(0.0, min(key.state.until(model) for key in self.keys) - now)
        if all(key.state.is_rejected(model) for key in self.keys):
            return KeysRejected(
                f'provider "{self._provider}" refused the gateway\'s own credentials or account; '
                f'next attempt in {remaining:.0f} s; check the keys configured for "{self._provider}"',
                retry_after=remaining,
            )
        return KeysCooling(
            f'provider "{self._provider}" is rate limiting us; next attempt in {remaining:.1f} s',
            status=429,
            retry_after=remaining,
        )

    async def ready(self) -> bool:
        return any([await key.backend.ready() for key in self.keys])


def _fingerprint(request: RerankRequest) -> int:
    """A number that tells a refused request from others: clients send the same one again after an error.

    The documents in the middle are left out, so that a refusal costs no more than a few milliseconds.
    """
    documents = request.documents
    return hash((len(documents), *map(str, (request.query, documents[0], documents[-1]))))
