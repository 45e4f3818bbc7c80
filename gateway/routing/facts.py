"""What is known of the models behind a name, whichever of its targets serves."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from gateway.config import chains
from gateway.config.providers import ProviderSettings, capability_corrections
from gateway.config.root import Config
from gateway.policy.long_texts import TextSettings
from gateway.policy.target_facts import TargetFacts
from gateway.routing import kinds
from providers.capabilities import Capabilities, Scoring, matching, resolve
from providers.spec import Provider


class ModelFacts(Struct, frozen=True):
    """What holds for all targets of a name.

    Attributes:
        scoring: pointwise if every target scores each document by itself; listwise if one does not; else unknown.
        documents: as many as every target takes in one call; None where no limit is known.
    """

    scoring: Scoring = "unknown"
    documents: int | None = None


def facts_of(config: Config, name: str) -> ModelFacts:
    """The facts of a model's name: an alias, with its targets and fallbacks, or a `provider/model`."""
    alias = config.models.get(name)
    names = [name, *chains.flatten(config.models, name, alias.fallbacks if alias else [])]
    found = combine(target_capabilities(config, path) for each in names for path in _asked_paths(config, each))
    # Ranks, and what a stage keeps, depend on the other documents whatever the models do.
    return replace(found, scoring="listwise") if alias is not None and alias.members else found


def _asked_paths(config: Config, name: str) -> Iterable[str]:
    """The targets that get all documents of a request for that name: of a cascade those of the first stage."""
    model = config.models.get(name)
    while model is not None and model.cascade:
        name = model.cascade[0].model
        model = config.models.get(name)
    return config.paths(name)


def target_capabilities(config: Config, path: str) -> Capabilities:
    """What is known of a `provider/model`, as the operator corrects it; nothing of one that is not configured."""
    name, _, model = path.partition("/")
    if name not in config.providers:
        return Capabilities()
    return capabilities_of(kinds.configure(config, name).provider, config.providers[name], model)


def capabilities_of(adapter: Provider, settings: ProviderSettings, model: str) -> Capabilities:
    """What is known of a provider's model, as the operator corrects it."""
    return resolve(model, adapter.capabilities, capability_corrections(settings))


def target_facts(adapter: Provider, settings: ProviderSettings, model: str) -> TargetFacts:
    """What a target's policies must know of its model."""
    corrections = capability_corrections(settings)
    takes_field = "instruction" in adapter.fields
    return TargetFacts(
        declared=resolve(model, adapter.capabilities).score_space,
        corrected=resolve(model, corrections).score_space,
        instruction=resolve(model, adapter.capabilities, corrections).instruction if takes_field else False,
        logits_by=adapter.logits_by,
    )


def text_settings(adapter: Provider, settings: ProviderSettings, model: str) -> TextSettings:
    """What is done about long texts of a provider's model."""
    is_cut_there = "max_tokens_per_doc" in adapter.fields and any(
        fnmatchcase(model, pattern) for pattern in adapter.cuts_documents
    )
    chosen = TextSettings(cuts_documents=not is_cut_there)
    for each in matching(model, settings.capabilities):
        chosen = replace(
            chosen,
            long_documents=each.long_documents or chosen.long_documents,
            tokenizer=each.tokenizer or chosen.tokenizer,
        )
    return chosen


def combine(targets: Iterable[Capabilities]) -> ModelFacts:
    """The facts that hold for each of these targets."""
    known = list(targets)
    scorings = {each.scoring for each in known}
    limits = [each.limits.documents for each in known if each.limits.documents is not None]
    scoring: Scoring = "listwise" if "listwise" in scorings else "unknown"
    return ModelFacts("pointwise" if scorings == {"pointwise"} else scoring, min(limits, default=None))
