"""Prices and limits of one configuration's targets."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.access.counters import Store
from gateway.access.limits import Limit, model_limits
from gateway.access.prices import Price, PriceTable, TargetCost, sum_of
from gateway.config.root import Config
from gateway.policy.target import Cost
from gateway.policy.target_id import TargetId
from gateway.routing import kinds


class TargetPricing:
    """Prices and limits of one configuration's targets.

    Args:
        config: checked.
        store: where limits are counted.
    """

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self.store = store
        # Found once: looking an adapter up takes milliseconds, and prices are asked for with every request.
        self._kinds = {name: kinds.configure(config, name) for name in config.providers}
        self._prices = PriceTable(config.prices, lambda name: self._kinds[name].provider.name)

    def cost(self, target: TargetId) -> Cost | None:
        """What calls of that target cost; None if its price is unknown."""
        price = self._price(str(target))
        return None if price is None else TargetCost(price)

    def limits(self, target: TargetId) -> tuple[Limit, ...]:
        """The rate limits of that target; often there are none."""
        return model_limits(self._config.rate_limits, str(target))

    def prices(self, name: str) -> Sequence[Price | None]:
        """The price of each target that a name leads to, only one of which serves; None where it is unknown.

        A model that is made of others has one price, of all of them together.
        """
        found = [self._price(path) for path in self._config.paths(name)]
        model = self._config.models.get(name)
        return [sum_of(found)] if model is not None and model.members else found

    def _price(self, path: str) -> Price | None:
        provider, _, model = path.partition("/")
        kind = self._kinds.get(provider)
        return None if kind is None else kind.price or self._prices.find(provider, model)
