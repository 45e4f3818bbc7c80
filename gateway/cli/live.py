"""`check --live`: ask every configured target once, with documents of which everybody knows the best.

A wrong key or path is seen before traffic is, and so is a server that answers and does not rank: without its chat
template, for example, a Qwen3 reranker gives scores in no sensible order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from time import monotonic
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.api.request_id import request_id
from gateway.cli.model_ends import configured_targets
from gateway.cli.progress import Advance, progress
from gateway.cli.table import table
from gateway.config.providers import ProviderSettings
from gateway.config.root import Config
from gateway.routing import kinds
from gateway.runtime.service import Service
from gateway.telemetry.recorder import RequestRecorder
from providers.errors import RerankError
from providers.spec import PureProvider
from providers.types import Call, Ranked, RerankRequest

QUERY = "What is the capital of France?"
DOCUMENTS = {
    "Berlin": "Berlin is the capital of Germany.",
    "Loire": "The Loire is the longest river in France.",
    "bread": "Bread is made from flour, water and yeast.",
    "Paris": "Paris is the capital of France.",
}
"""By the word under which the order is shown. The best is the last, so that the order given is a wrong one."""
BEST = "Paris"

_NAMES = list(DOCUMENTS)

HINTS = {
    "qwen3-reranker": "a Qwen3 reranker needs its own chat template: without it, its scores have no meaning. vLLM and "
    "SGLang take the template as an option at start",
}
"""What to look at first, by a part of the model's name."""
HINT = "look at the server's template, pooling and labels for this model, and whether it is a reranker at all"


class Outcome(Struct, frozen=True):
    """What a target did.

    Attributes:
        target: `provider/model`, with the address and the name of the key where the provider has several.
        milliseconds: from the request to the answer, without the loading of a local model.
        results: in the order of the answer; empty if there was none.
        error: why there was none.
    """

    target: str
    milliseconds: int
    results: Sequence[Ranked] = ()
    error: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the best document does not stand alone at the top."""
        scores = {_NAMES[result.index]: result.relevance_score for result in self.results}
        best = scores.pop(BEST, None)
        return not self.error and (best is None or any(score >= best for score in scores.values()))


def run(config: Config) -> int:
    """Ask, and print what came of it. Gives 1 if a target failed or ranked a wrong document first, else 0."""
    outcomes = asyncio.run(ask_targets(config))
    print(report(config, outcomes))
    return int(any(outcome.error or outcome.is_wrong for outcome in outcomes))


async def ask_targets(config: Config, clock: Callable[[], float] = monotonic) -> list[Outcome]:
    """Ask each target once: those of one provider one after the other, so that the times mean something.

    Args:
        config: checked.
        clock: seconds that only grow.
    """
    probing, targets = _probes(config)
    service = Service(probing)
    await service.open()
    try:
        with progress("asking targets", len(targets)) as advance:
            groups = [list(paths) for _, paths in groupby(sorted(targets), key=_provider_of)]
            answers = await asyncio.gather(*(_ask_all(service, paths, clock, advance) for paths in groups))
    finally:
        await service.aclose()
    outcomes = {outcome.target: outcome for answered in answers for outcome in answered}
    return [outcomes[target] for target in targets]


def report(config: Config, outcomes: Sequence[Outcome]) -> str:
    """A table of what each target did, and a sentence for each that cannot be trusted or was not asked."""
    rows = [[each.target, f"{each.milliseconds} ms", each.error or "ok", _order(each.results)] for each in outcomes]
    lines = [table(["TARGET", "LATENCY", "ANSWER", "ORDER, BEST FIRST"], rows)] if rows else ["no target is configured"]
    lines += [f"warning: {_distrust(each)}" for each in outcomes if each.is_wrong]
    named = {_provider_of(path) for path in configured_targets(config)}
    for name in config.providers:
        if isinstance(kinds.configure(config, name).provider, PureProvider):
            lines.append(f"{name} was not asked: it leaves documents in their order")
        elif name not in named:
            lines.append(f"{name} was not asked: name one of its models under `models` to have it asked")
    return "\n".join(lines)


def _probes(config: Config) -> tuple[Config, list[str]]:
    """A configuration in which each key at each address is a provider of its own and nothing is tried twice, and what
    to ask there."""
    providers: dict[str, ProviderSettings] = {}
    targets: list[str] = []
    for path in configured_targets(config):
        name, _, model = path.partition("/")
        if isinstance(kinds.configure(config, name).provider, PureProvider):
            continue
        for shown, settings in _per_address(name, config.providers[name]):
            providers[shown] = settings
            targets.append(f"{shown}/{model}")
    server = config.server.model_copy(update={"workers": 1})
    changes = {"providers": providers, "models": {}, "default_model": None, "auth": None, "server": server}
    return config.model_copy(update=changes), targets


def _per_address(name: str, settings: ProviderSettings) -> Iterator[tuple[str, ProviderSettings]]:
    once = settings.retry.model_copy(update={"retries": 0})
    alone = settings.model_copy(update={"adapter": settings.adapter or name, "retry": once, "health_check": None})
    if not settings.base_urls:
        yield from _per_key(name, [], alone)
    for address in settings.base_urls:
        here = alone.model_copy(update={"base_url": address.url, "base_urls": []})
        yield from _per_key(name, [urlsplit(address.url).netloc], here)


def _per_key(name: str, which: list[str], settings: ProviderSettings) -> Iterator[tuple[str, ProviderSettings]]:
    if not settings.api_keys:
        yield _shown(name, which), settings
    for key in settings.api_keys:
        alone = settings.model_copy(update={"api_key": key.key, "api_keys": []})
        yield _shown(name, [*which, key.name]), alone


def _shown(name: str, which: Sequence[str]) -> str:
    return f"{name} ({', '.join(which)})" if which else name


async def _ask_all(
    service: Service, targets: Sequence[str], clock: Callable[[], float], advance: Advance
) -> list[Outcome]:
    outcomes = []
    for target in targets:
        outcomes.append(await _ask(service, target, clock))
        advance(1)
    return outcomes


async def _ask(service: Service, target: str, clock: Callable[[], float]) -> Outcome:
    call = Call(id=request_id([]), recorder=RequestRecorder())
    request = RerankRequest(model=target, query=QUERY, documents=list(DOCUMENTS.values()), call=call)
    start = clock()
    try:
        await service.load(target)
        start = clock()
        ranking = await service.rerank(request, [target])
    except RerankError as error:
        return Outcome(target, round((clock() - start) * 1000), error=error.message)
    return Outcome(target, round((clock() - start) * 1000), ranking.results)


def _provider_of(path: str) -> str:
    return path.partition("/")[0]


def _order(results: Sequence[Ranked]) -> str:
    return " > ".join(f"{_NAMES[each.index]} {each.relevance_score:.4g}" for each in results)


def _distrust(outcome: Outcome) -> str:
    model = outcome.target.casefold()
    hint = next((hint for part, hint in HINTS.items() if part in model), HINT)
    first = _NAMES[outcome.results[0].index]
    what = f"ranks “{DOCUMENTS[first]}” first" if first != BEST else "gives another document the same score"
    return f"{outcome.target} {what} for “{QUERY}”: {hint}"
