"""A model that was closed leaves the memory at once: frozen or not, and without any garbage collection."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import bert, embedder, engine, modernbert, qwen, request, xlm_roberta

from providers.adapters.local import PROVIDER
from providers.errors import NotReady
from providers.local import loading
from providers.spec import LocalModel

Build = Callable[..., Path]
REPLACEMENTS = 6
"""How often one model is replaced by another."""


@contextmanager
def no_collector() -> Iterator[None]:
    """Refcounts alone, as for objects that `gc.freeze` has moved out of the collector's sight."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def live_tensors() -> int:
    """Whatever the collector would traverse, frozen or not: parameters are seen by it, plain tensors too."""
    gc.unfreeze()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def watch(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """References to the network, a tensor and the tokenizer of each model that is loaded from now on."""
    seen: list[weakref.ref[Any]] = []
    load = loading.load

    def watched(settings: LocalModel) -> Any:
        loaded = load(settings)
        seen.extend(map(weakref.ref, (loaded.net, next(loaded.net.parameters()), loaded.tokenizer)))
        return loaded

    monkeypatch.setattr(loading, "load", watched)
    return seen


@pytest.mark.parametrize("maker", [bert, xlm_roberta, modernbert, qwen, embedder], ids=lambda maker: maker.__name__)
async def test_replaced_models_leave_nothing(build: Build, maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, folder = watch(monkeypatch), build(maker)
    with no_collector():
        before = live_tensors()
        for _ in range(REPLACEMENTS):
            async with engine(folder) as backend:
                gc.freeze()
                await backend.rerank(request())
        assert len(seen) == REPLACEMENTS * 3
        assert [ref() for ref in seen] == [None] * len(seen)
        assert live_tensors() <= before


async def test_a_model_that_cannot_be_warmed_up_leaves_nothing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, budget: int) -> None:
        raise MemoryError

    seen, folder = watch(monkeypatch), build(bert)
    monkeypatch.setattr("providers.local.model.LoadedModel.warm_up", fail)
    with no_collector():
        for _ in range(REPLACEMENTS):
            with pytest.raises(NotReady):
                PROVIDER.open(LocalModel(name="m", path=str(folder), device="cpu"))
        assert [ref() for ref in seen] == [None] * len(seen)
