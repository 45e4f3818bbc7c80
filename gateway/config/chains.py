"""What is tried after a model: its fallbacks, and where one is an alias, that one's own as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.config.limits import MAX_FALLBACKS, MAX_MEMBER_CALLS
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
    counts: dict[str, int] = {}
    for name, model in models.items():
        if name not in in_circles and (circle := _circle(models, name)):
            in_circles.update(circle)
            found.append(_circle_problem(models, circle))
        length = len(flatten(models, name, model.fallbacks))
        if length > MAX_FALLBACKS and name not in in_circles:
            message = f"are {length} with those that they bring themselves; at most {MAX_FALLBACKS} are tried"
            found.append(Problem(f"models.{name}.fallbacks", message))
    for name, model in models.items():
        if model.members and not in_circles and (calls := _member_calls(models, name, counts)) > MAX_MEMBER_CALLS:
            message = (
                f"asks {calls} models with those that its models are made of; at most {MAX_MEMBER_CALLS} are asked"
            )
            found.append(Problem(f"models.{name}", message))
    return found


def _member_calls(models: Models, name: str, known: dict[str, int]) -> int:
    """How many models a request for that name asks, without fallbacks. There must be no circle."""
    if name not in known:
        members = models[name].members if name in models else []
        known[name] = sum(_member_calls(models, member, known) for member in members) or 1
    return known[name]


def _circle_problem(models: Models, circle: list[str]) -> Problem:
    name, following, *_ = circle
    model = models[name]
    kind = "fallbacks" if following in model.fallbacks else "fuse" if model.fuse else "cascade"
    place = (model.fallbacks if kind == "fallbacks" else model.members).index(following)
    what = "models" if any(models[each].members for each in circle) else "fallbacks"
    message = f"leads back to where it began: {' → '.join(circle)}; take one of these {what} out"
    return Problem(f"models.{name}.{kind}.{place}", message)


def _circle(models: Models, start: str) -> list[str]:
    """The shortest way from a model, over fallbacks and members, back to itself; empty if there is none."""
    before: dict[str, str] = {}
    waiting = [start]
    for name in waiting:  # It grows: the search is breadth first.
        for following in _next(models, name):
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


def _next(models: Models, name: str) -> list[str]:
    return [*_fallbacks(models, name), *models[name].members] if name in models else []


def _fallbacks(models: Models, name: str) -> list[str]:
    return models[name].fallbacks if name in models else []
