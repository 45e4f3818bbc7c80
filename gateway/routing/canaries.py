"""The canaries of a configuration, and which of several workers scores them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from gateway.config.root import Config
from gateway.policy.canary import Canary
from gateway.policy.target_id import TargetId
from gateway.process_folder import try_lock
from gateway.routing.targets import Targets
from gateway.telemetry.metric_store import find_shared_folder


class Election:
    """Among the workers of one gateway the first to ask is elected, until its process ends."""

    def __init__(self) -> None:
        self._lock: BinaryIO | None = None

    def is_won(self) -> bool:
        """Whether this process is the elected one; always, where it is the only one."""
        folder = find_shared_folder(os.environ)
        if folder is None or self._lock is not None:
            return True
        file = (folder / "canary.lock").open("ab")
        if not try_lock(file):
            file.close()
            return False
        self._lock = file
        return True


ELECTION = Election()
"""This process's part in it: a reload does not change who is elected."""


def open_canaries(config: Config, targets: Targets, previous: Sequence[Canary]) -> list[Canary]:
    """One for each target of the models that ask for it, not started.

    A target that a reload leaves unchanged goes on with the baseline that it had.
    """
    known = {str(canary.target): canary for canary in previous}
    canaries: dict[str, Canary] = {}
    for name, model in config.models.items():
        for path in config.paths(name) if model.canary else ():
            backend = targets.isolated(path)
            if model.canary and path not in canaries:
                canary = Canary(TargetId.parse(path), backend, model.canary, ELECTION.is_won, config.deadline.default)
                old = known.get(path)
                if old is not None and old.settings == model.canary and targets.survived(path):
                    canary.take_over(old)
                canaries[path] = canary
    return list(canaries.values())
