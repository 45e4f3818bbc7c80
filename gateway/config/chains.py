"""What is tried after a model: its fallbacks, and where one is an alias, that one's own as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.config.limits import MAX_FALLBACKS
from gateway.config.models import ModelSettings
from gateway.errors import Problem

Models = Mapping[str, ModelSettings]


def flatten(models: Models, name: str, fallbacks: Iterable[str]) -> list[str]:
    """The names to try after `name`, none twice: each fallback, then at once the fallbacks that it brings itself."""
    found = {name: None}
    waiting = list(fallbacks)[::-1]
    while waiting:
        following = waiting.pop()
        if following not in found:
            found[following] = None
            waiting += _fallbacks(models, following)[::-1]
    return list(found)[1:]


def problems(models: Models) -> list[Problem]:
    """Aliases that lead back to themselves, each circle once, and chains that are too long."""
    found: list[Problem] = []
    in_circles: set[str] = set()
    for name, model in models.items():
        if name not in in_circles and (circle := _circle(models, name)):
            in_circles.update(circle)
            found.append(_circle_problem(models, circle))
        length = len(flatten(models, name, model.fallbacks))
        if length > MAX_FALLBACKS and name not in in_circles:
            message = f"are {length} with those that they bring themselves; at most {MAX_FALLBACKS} are tried"
            found.append(Problem(f"models.{name}.fallbacks", message))
    return found


def _circle_problem(models: Models, circle: list[str]) -> Problem:
    name, following, *_ = circle
    place = models[name].fallbacks.index(following)
    message = f"leads back to where it began: {' → '.join(circle)}; take one of these fallbacks out"
    return Problem(f"models.{name}.fallbacks.{place}", message)


def _circle(models: Models, start: str) -> list[str]:
    """The shortest way from a model over fallbacks back to itself; empty if there is none."""
    before: dict[str, str] = {}
    waiting = [start]
    for name in waiting:  # It grows: the search is breadth first.
        for following in _fallbacks(models, name):
            if following == start:
                return [*_way(before, name), start]
            if following not in before:
                before[following] = name
                waiting.append(following)
    return []


def _way(before: Mapping[str, str], last: str) -> list[str]:
    way = [last]
    while way[-1] in before:
        way.append(before[way[-1]])
    return way[::-1]


def _fallbacks(models: Models, name: str) -> list[str]:
    return models[name].fallbacks if name in models else []
