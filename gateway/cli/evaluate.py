"""rerank-gateway eval: its arguments. The work is that of the package `evaluation`, which needs the extra `eval`."""

from __future__ import annotations

import importlib
import shlex
from argparse import ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from math import isfinite
from types import ModuleType
from typing import Any

from providers.errors import InvalidRequest
from providers.wire.extras import install_command


def add_to(commands: Any, path: str | None) -> None:
    """Add the command and its arguments."""
    command: ArgumentParser = commands.add_parser(
        "eval",
        help="measure which reranker is worth it on your data",
        description="Measure models on queries of your own, through a gateway. Answers are kept in the output folder: "
        "what was answered once is not asked again. `eval compare A B` compares two reports.",
    )
    _add_data(command)
    _add_models(command)
    _add_results(command)
    command.set_defaults(run=run, default_config=path)
    more = command.add_subparsers(title="commands", metavar="COMMAND", help="in place of measuring")
    comparison = more.add_parser("compare", help="compare two reports over the same data")
    comparison.add_argument("first", metavar="A.json", help="a report, or the folder that has it")
    comparison.add_argument("second", metavar="B.json", help="another one")
    comparison.set_defaults(run=run_compare)
    more.choices = _OnlyCompare(more.choices or {})


class _OnlyCompare(dict[str, Any]):
    """The commands below this one. What is none of them was meant as data, which the parser alone would not say."""

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        data = shlex.quote(str(name))
        raise ArgumentError(
            None, f'to measure models on "{name}", write: --data {data}; or compare reports: compare A B'
        )


def run(chosen: Namespace) -> int:
    """Evaluate. Raises ConfigError, RerankError, OSError."""
    return int(_evaluation().run(chosen))


def run_compare(chosen: Namespace) -> int:
    """Compare two reports. Raises ConfigError, RerankError."""
    return int(_evaluation().run_compare(chosen))


def _evaluation() -> ModuleType:
    # By name, when it is needed: the gateway neither depends on this package nor on what it installs.
    try:
        return importlib.import_module("evaluation.command")
    except ModuleNotFoundError as error:
        command = install_command("eval")
        raise InvalidRequest(f"this command needs more packages ({error.name} is missing); run: {command}") from None


def _add_data(command: ArgumentParser) -> None:
    data = command.add_argument_group("data")
    source = data.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="PATH", help="a BEIR folder, or JSON Lines of {query, documents, relevant}")
    source.add_argument("--sample-data", action="store_true", help="the small collection that comes with this command")
    data.add_argument(
        "--run", dest="run_file", metavar="FILE", help="candidates as a TREC run; for a folder default is BM25"
    )
    data.add_argument("--qrels", metavar="FILE", help="judgements, in TREC's form or BEIR's")
    data.add_argument("--corpus", metavar="FILE", help="with --run alone: the documents' texts, as JSON Lines or TSV")
    data.add_argument("--queries", metavar="FILE", help="with --run alone: the queries' texts, likewise")
    data.add_argument("--split", metavar="NAME", help="which of a folder's qrels; default is test, or the only one")
    data.add_argument("--first-stage", choices=["bm25"], help="order the candidates by BM25")
    data.add_argument("--top", type=_positive, default=50, metavar="N", help="candidates of each query; default is 50")
    data.add_argument("--sample", type=_positive, metavar="N", help="draw so many queries; default is all")
    data.add_argument("--seed", type=int, default=1, metavar="N", help="of the drawing; default is 1")


def _add_models(command: ArgumentParser) -> None:
    models = command.add_argument_group("models")
    models.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="may be repeated; default is all names of the configuration; none and oracle are always there",
    )
    models.add_argument("--url", help="a running gateway; its key is in RERANK_GATEWAY_KEY; default is this process")
    models.add_argument("--config", metavar="FILE", help="YAML configuration; beside --url for its prices")
    models.add_argument("--max-tokens-per-doc", type=_positive, metavar="N", help="cut documents, as in a request")
    models.add_argument(
        "--concurrency", type=_positive, default=4, metavar="N", help="calls of each model at once; default 4"
    )
    models.add_argument("--max-cost", type=_number, metavar="USD", help="stop before more is spent")
    models.add_argument(
        "--probes",
        type=_count,
        default=50,
        metavar="N",
        help="queries that each probe repeats; default is 50",
    )


def _add_results(command: ArgumentParser) -> None:
    results = command.add_argument_group("results")
    results.add_argument(
        "--output", metavar="FOLDER", default="rerank-eval", help="for answers and reports; default is rerank-eval"
    )
    results.add_argument("--against", metavar="NAME", default="none", help="what to compare with; default is none")
    results.add_argument("--show-texts", action="store_true", help="put queries and documents into the reports")
    results.add_argument(
        "--fail-under", action="append", default=[], metavar="nDCG@10=0.5", help="exit with 3 if a model is under it"
    )
    results.add_argument("--baseline", metavar="FILE", help="an earlier report.json over the same data")
    results.add_argument(
        "--max-drop",
        type=_number,
        default=0.0,
        metavar="X",
        help="exit with 3 if nDCG@10 dropped by more; default is 0",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'"{text}" is not a number from 1')
    return int(text)


def _count(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not isfinite(number) or number < 0:
        raise ArgumentTypeError(f'"{text}" is not a number from 0')
    return number
