"""What every adapter's table of cases shares: the table, and one test that goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from providers import registry
from providers.errors import BadAnswer
from providers.spec import HttpProvider
from providers.types import Ranked, Ranking, RerankRequest, Usage

Wire = Callable[[str], bytes]
Asked = Callable[..., RerankRequest]
Sends = tuple[dict[str, Any], dict[str, Any]]

WIRE = Path(__file__).parents[1] / "wire"
QUERY = "how long does a tube last"
TEXTS = ["tubes", "helmets", "sealant"]
OBJECTS = [{"text": text} for text in TEXTS]
MINIMAL = Ranking(results=[Ranked(0, 0.5)])


class Vendor(Struct):
    """One vendor's cases. Every body that is recorded of it must be in one of them.

    Attributes:
        sends: a request's fields, and the body they make.
        reads: a recorded answer, and the ranking in it; `minimal` need not be said.
        says: a recorded error, and its sentence.
        options: of the provider.
        models: what an answer is to, by its name, where it is not `a-model`.
        refuses: a recorded answer that is none, and what is said of it.
    """

    sends: dict[str, Sends]
    reads: dict[str, Ranking]
    says: dict[str, str]
    options: dict[str, Any] = {}
    models: dict[str, str] = {}
    refuses: dict[str, str] = {}


def onto(plain: Mapping[str, Any], changes: Mapping[str, Sends]) -> dict[str, Sends]:
    """For `sends`: what each case changes of the plain body."""
    return {case: (fields, {**plain, **changed}) for case, (fields, changed) in changes.items()}


def scores(first: float, second: float, usage: Usage | None = None, id: str | None = None) -> Ranking:
    """Document 1 before document 0."""
    return Ranking(results=[Ranked(1, first), Ranked(0, second)], usage=usage, id=id)


def adapter(name: str, options: Mapping[str, Any]) -> HttpProvider:
    """The adapter, with those options in force."""
    found = registry.find(name)
    assert isinstance(found, HttpProvider)
    declared = found.options
    return found if declared is None else declared.apply(msgspec.convert(dict(options), declared.shape))


def vendor_tests(vendors: Mapping[str, Vendor]) -> Callable[..., None]:
    """A pytest test that goes through all cases: bind it to a name that starts with `test_`."""

    @pytest.mark.parametrize("check", list(_checks(vendors)))
    def test_vendor(check: Callable[[Wire, Asked], None], wire: Wire, asked: Asked) -> None:
        check(wire, asked)

    return test_vendor


def _checks(vendors: Mapping[str, Vendor]) -> Iterator[Any]:
    for name, vendor in vendors.items():
        provider = adapter(name, vendor.options)
        for case, (fields, body) in vendor.sends.items():
            yield pytest.param(partial(_sends, provider, fields, body), id=f"{name} sends {case}")
        minimal = {"minimal": MINIMAL} if (WIRE / name / "minimal.json").exists() else {}
        for case, ranking in {**minimal, **vendor.reads}.items():
            model = vendor.models.get(case, "a-model")
            yield pytest.param(partial(_reads, provider, case, model, ranking), id=f"{name} reads {case}")
        for case, sentence in vendor.says.items():
            yield pytest.param(partial(_says, provider, case, sentence), id=f"{name} says {case}")
        for case, reason in vendor.refuses.items():
            yield pytest.param(partial(_refuses, provider, case, reason), id=f"{name} refuses {case}")
        yield pytest.param(partial(_has_a_case_for_every_body, name, vendor), id=f"{name} has a case for every body")


def _sends(provider: HttpProvider, fields: dict[str, Any], body: dict[str, Any], wire: Wire, asked: Asked) -> None:
    assert provider.encode(asked(**fields)) == body


def _reads(provider: HttpProvider, case: str, model: str, ranking: Ranking, wire: Wire, asked: Asked) -> None:
    assert provider.decode(wire(f"{provider.name}/{case}"), asked(model=model)) == ranking


def _says(provider: HttpProvider, case: str, sentence: str, wire: Wire, asked: Asked) -> None:
    assert provider.error_message(wire(f"{provider.name}/{case}")) == sentence


def _refuses(provider: HttpProvider, case: str, reason: str, wire: Wire, asked: Asked) -> None:
    with pytest.raises(BadAnswer) as caught:
        provider.decode(wire(f"{provider.name}/{case}"), asked())
    assert str(caught.value) == reason


def _has_a_case_for_every_body(name: str, vendor: Vendor, wire: Wire, asked: Asked) -> None:
    recorded = {body.stem for body in (WIRE / name).iterdir()}
    assert recorded - {"minimal"} == (vendor.reads.keys() | vendor.says.keys() | vendor.refuses.keys()) - {"minimal"}
