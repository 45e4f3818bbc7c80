"""The models of a local provider whose section names none: those that come with the gateway."""

from __future__ import annotations

from typing import Any

from gateway.config.root import Config
from providers import registry
from providers.local.builtin.catalogue import CROSS_ENCODER, EMBEDDING_MODEL
from providers.local.source import built_in_models
from providers.spec import LocalProvider

Tree = dict[str, Any]


def fill(tree: Any) -> Any:
    """A configuration's tree with the models of each local provider that has no `models`, as far as they are here.

    The best of them is what requests without a model get, unless the tree says something else.
    """
    sections = tree.get("providers") if isinstance(tree, dict) else None
    if not isinstance(sections, dict):
        return tree
    names = [name for name, section in sections.items() if _names_no_models(name, section)]
    models = {model.name: model.settings() for model in built_in_models()} if names else {}
    if not models:
        return tree
    filled = {name: {**(sections[name] or {}), "models": models} for name in names}
    return {"default_model": f"{names[0]}/{next(iter(models))}", **tree, "providers": {**sections, **filled}}


def advice(config: Config) -> str:
    """How to get the better model where the small one that comes with the gateway serves alone; else ""."""
    small, install = {EMBEDDING_MODEL.name: EMBEDDING_MODEL.path}, command(CROSS_ENCODER.name)
    served = ({name: model.path for name, model in (each.models or {}).items()} for each in config.providers.values())
    if not install or small not in served:
        return ""
    return (
        f"{CROSS_ENCODER.name}, which ranks better, is not installed, so {EMBEDDING_MODEL.name} serves alone{install}"
    )


def command(name: str) -> str:
    """How a model of that name would be installed, to be put after a sentence; "" if that cannot be done."""
    if name != CROSS_ENCODER.name or CROSS_ENCODER in built_in_models():
        return ""
    return f"; to install it run: rerank-gateway models install {name}"


def _names_no_models(name: Any, section: Any) -> bool:
    """Whether it is a local provider without `models`."""
    if not isinstance(section, dict | None) or "models" in (section or {}):
        return False
    try:
        return isinstance(registry.find(str((section or {}).get("adapter") or name)), LocalProvider)
    except LookupError:
        return False
