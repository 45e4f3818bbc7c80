"""The tables of docs/observability.md, from the names and settings in the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.telemetry import names
from gateway.telemetry.gen_ai_metrics import GEN_AI_METRICS
from gateway.telemetry.metric import Metric
from gateway.telemetry.metrics import METRICS
from gateway.telemetry.settings import TelemetrySettings


def spans() -> str:
    return _table(
        ("Span", "Kind", "Parent", "What it is"),
        ((f"`{span.name}`", span.kind, _code(span.parent), span.help) for span in names.SPANS),
    )


def attributes() -> str:
    return _table(
        ("Attribute", "On", "What it says"),
        (
            (f"`{one.name}`", one.on, f"{one.help}{' Only with `content.in_spans`.' if one.content else ''}")
            for one in names.ATTRIBUTES
        ),
    )


def conventions() -> str:
    facts = ("provider", "model", "attempt_model", "response_model", "response_id", "documents", "top_n")
    facts += ("input_tokens", "search_units", "cost")
    rows = [("always", *(_fixed(one) for one in names.CONVENTIONS.values()))]
    rows += [
        (fact.replace("_", " "), *(_code(getattr(one, fact)) for one in names.CONVENTIONS.values())) for fact in facts
    ]
    return _table(("What", *(f"`{name}`" for name in names.CONVENTIONS)), rows)


def metrics() -> str:
    return _metrics(METRICS.values())


def gen_ai_metrics() -> str:
    return _metrics(GEN_AI_METRICS.values())


def _metrics(declared: Iterable[Metric]) -> str:
    return _table(
        ("Metric", "At /metrics", "Kind", "Labels", "What it counts"),
        (
            (
                f"`{one.name}`",
                f"`{one.prometheus}{'_total' if one.kind == 'counter' else ''}`",
                one.kind,
                ", ".join(f"`{label}`" for label in one.labels),
                one.help,
            )
            for one in declared
        ),
    )


def headers() -> str:
    return _table(("Header", "What it says"), ((f"`{one.name}`", one.help) for one in names.ANSWER_HEADERS))


def settings() -> str:
    rows = _fields("telemetry", TelemetrySettings)
    return _table(("Key", "Default", "What it does"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "spans": spans,
    "attributes": attributes,
    "conventions": conventions,
    "metrics": metrics,
    "gen_ai_metrics": gen_ai_metrics,
    "headers": headers,
    "telemetry_settings": settings,
}


def _fields(path: str, model: type[BaseModel]) -> Iterable[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        where = f"{path}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(where, field.annotation)
        else:
            yield f"`{where}`", _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None:
        return "not set"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _fixed(convention: names.Convention) -> str:
    return " ".join(f"`{name}={value}`" for name, value in convention.fixed.items())


def _code(text: str | None) -> str:
    return text if text is None or text.startswith("the ") else f"`{text}`"  # type: ignore[return-value]


def _table(head: Iterable[str], rows: Iterable[Iterable[str | None]]) -> str:
    lines = [list(head), *([cell or "none" for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
