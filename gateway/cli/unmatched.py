"""Warn of patterns in a configuration that match nothing in it. They are no errors: what they mean may come later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from gateway.cli.model_ends import configured_targets
from gateway.config.root import Config
from gateway.suggestions import did_you_mean


def unmatched_warnings(config: Config) -> list[str]:
    """A sentence for each pattern of a key's models, of rate limits and of prices that nothing configured matches.

    Args:
        config: checked.
    """
    targets = configured_targets(config)
    names = [*config.models, *targets]
    open_ended = [name for name, settings in config.providers.items() if settings.models is None]
    return [
        *_of_keys(config, names, open_ended),
        *_of_targets(
            "rate_limits.models", config.rate_limits.models if config.rate_limits else (), targets, open_ended
        ),
        *_of_targets("prices", config.prices, targets, open_ended),
    ]


def _of_keys(config: Config, names: Sequence[str], open_ended: Sequence[str]) -> Iterator[str]:
    for key in config.auth.keys if config.auth else ():
        for pattern in key.models:
            if not _can_match(pattern, names, open_ended):
                hint = did_you_mean(pattern, names)
                yield f'the key "{key.name}" may use "{pattern}", but no model here has such a name{hint}'


def _of_targets(
    section: str, patterns: Iterable[str], targets: Sequence[str], open_ended: Sequence[str]
) -> Iterator[str]:
    for pattern in patterns:
        if not _can_match(pattern, targets, open_ended):
            hint = did_you_mean(pattern, targets) or "; write provider/model"
            yield f'{section}: "{pattern}" matches no target here{hint}'


def _can_match(pattern: str, names: Iterable[str], open_ended: Iterable[str]) -> bool:
    """Whether a name matches, or some model of a provider that takes any."""
    if any(fnmatchcase(name, pattern) for name in names):
        return True
    return any(_reaches_beyond(pattern, f"{provider}/") for provider in open_ended)


def _reaches_beyond(pattern: str, start: str) -> bool:
    """Whether the pattern matches a longer text that begins so: a part of it matches that, and more can follow."""
    heads = (pattern[:end] for end in range(1, len(pattern) + 1))
    return any(fnmatchcase(start, head) and (head != pattern or head.endswith("*")) for head in heads)
