"""What is known of one key of a provider: whether it is refused or limited, and for which models."""

from __future__ import annotations

from msgspec import Struct

from gateway.policy.cooldown import BASE_SECONDS, MAX_SECONDS, Cooldown

MAX_MODELS = 1024
"""Models of which something is remembered for one key: callers may invent names. The one that ends first is dropped."""


class ModelState(Struct, eq=False):
    """What is known of one key for one model.

    Attributes:
        cooldown: while it lasts, the key is not used for the model.
        suspicion: the request that was refused last, as a number that tells it from others; None if none was since
            the key served the model.
        rejected: two different requests were refused (402, 403), and none has been served since.
    """

    cooldown: Cooldown
    suspicion: int | None = None
    rejected: bool = False


class KeyState:
    """Pure: every method takes the time.

    A 401 is about the key, so the whole key cools down. A 429, 402 or 403 may be about the model, or about this one
    request (a firewall that dislikes a document): those concern the key for that model, and a 402 or 403 not before
    another request has confirmed it.

    Args:
        name, weight: as configured.
        max_cooldown: upper bound in seconds of every cooldown, whatever the provider says.

    Attributes:
        cooldown: of the whole key.
        is_clean: nothing is held against the key, for no model.
    """

    __slots__ = ("_max_cooldown", "_models", "_unauthorized", "cooldown", "is_clean", "name", "weight")

    def __init__(self, name: str, weight: float, max_cooldown: float = MAX_SECONDS) -> None:
        self.name = name
        self.weight = weight
        self.cooldown = Cooldown(BASE_SECONDS, max_cooldown)
        self._max_cooldown = max_cooldown
        self.is_clean = True
        self._unauthorized = False
        self._models: dict[str, ModelState] = {}

    @property
    def rejected(self) -> bool:
        """Whether the provider refused the key, for some model at least, and has not accepted it since."""
        return self._unauthorized or any(state.rejected for state in self._models.values())

    def is_rejected(self, model: str) -> bool:
        """Whether the provider refused the key for that model and has not accepted it since."""
        state = self._models.get(model)
        return self._unauthorized or (state is not None and state.rejected)

    def until(self, model: str) -> float:
        """When the key may be used for that model, in the clock's seconds."""
        state = self._models.get(model) if self._models else None
        return self.cooldown.until if state is None else max(self.cooldown.until, state.cooldown.until)

    def left(self, now: float) -> float:
        """Seconds until the key may be used for every model; 0.0 if it may."""
        return max([self.cooldown.left(now), *(state.cooldown.left(now) for state in self._models.values())])

    def record_unauthorized(self, now: float) -> bool:
        """A 401: take the whole key out of use, longer each time. Returns True the first time: worth a log line."""
        self.cooldown.start(now)
        self.is_clean = False
        first, self._unauthorized = not self._unauthorized, True
        return first

    def record_refusal(self, model: str, request: int, now: float) -> bool:
        """A 402 or 403: take the key out of use for the model, if another request was refused just before.

        Args:
            model: that was asked.
            request: a number that tells the request from others; the same one again confirms nothing.
            now: the clock's seconds.

        Returns:
            True if it was confirmed for the first time, which is worth a log line.
        """
        state = self._state(model)
        confirmed = state.rejected or state.suspicion not in (None, request)
        state.suspicion = request
        if not confirmed:
            return False
        state.cooldown.start(now)
        first, state.rejected = not state.rejected, True
        return first

    def record_rate_limit(self, model: str, now: float, seconds: float) -> None:
        """A 429: take the key out of use for the model for as long as the provider says, within `max_cooldown`."""
        if seconds > 0.0:
            self._state(model).cooldown.extend(now, seconds)

    def record_success(self, model: str, now: float) -> bool:
        """Note that the provider accepted the key for that model. Returns True if it had refused it before."""
        was_unauthorized, self._unauthorized = self._unauthorized, False
        if was_unauthorized:
            self.cooldown.end(now)
        was_rejected = self._clear(model, now)
        self.is_clean = not self._models
        return was_unauthorized or was_rejected

    def _clear(self, model: str, now: float) -> bool:
        """Drop what is held against the key for one model, but not a rate limit. Returns whether it was refused."""
        state = self._models.get(model)
        if state is None:
            return False
        was_rejected, state.rejected, state.suspicion = state.rejected, False, None
        if was_rejected:
            state.cooldown.end(now)
        if not state.cooldown.left(now):
            del self._models[model]
        return was_rejected

    def _state(self, model: str) -> ModelState:
        if model not in self._models:
            if len(self._models) >= MAX_MODELS:
                del self._models[min(self._models, key=lambda name: self._models[name].cooldown.until)]
            self._models[model] = ModelState(Cooldown(BASE_SECONDS, self._max_cooldown))
            self.is_clean = False
        return self._models[model]
