"""`rerank-gateway eval`: from the arguments to the exit status."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from evaluation import gates
from evaluation.compare import compare, read_report
from evaluation.data.load import SAMPLE, Source, load
from evaluation.data.task import Task
from evaluation.errors import EvaluationError
from evaluation.models import VERSION, Gateway, choose, find_gateway
from evaluation.report import html, text
from evaluation.report.build import Findings, build
from evaluation.report.model import NONE, Report, Settings, encode
from evaluation.report.results import Results
from evaluation.run.answers import Answer, AnswerFile
from evaluation.run.cost import Estimator, Spending
from evaluation.run.pace import Pace
from evaluation.run.question import Question, questions
from evaluation.run.runner import Contestant, Runner
from gateway.cli.asker import URL_VARIABLE, open_asker
from gateway.cli.progress import progress
from gateway.cli.terminal import visible

EXIT_NOT_MEASURED = 1
"""A model could not be measured at all: its name, its key or the configuration is wrong."""

EXIT_FAILED = 3
"""A floor was not reached, or a model dropped too far."""


class Plan(Struct, frozen=True):
    """What is asked of whom.

    Attributes:
        gateway: whom.
        task: on what data.
        questions: by model, in the order in which they are shown.
    """

    gateway: Gateway
    task: Task
    questions: Mapping[str, Sequence[Question]]


def run(chosen: Namespace) -> int:
    """Evaluate. Raises RerankError, ConfigError."""
    floors = gates.parse_floors(chosen.fail_under)
    baseline = read_report(chosen.baseline) if chosen.baseline else None
    plan = _plan(chosen)
    if chosen.against not in (NONE, *plan.questions):
        raise EvaluationError(f'--against names "{chosen.against}", which is neither none nor one of the models')
    folder = Path(chosen.output)
    answers, refusals = _answers(plan, AnswerFile(folder / "answers.jsonl"), chosen)
    unmeasured = _unmeasured(plan, answers, refusals)
    for name, reason in unmeasured.items():
        print(visible(f"error: {name} cannot be measured: {reason}"), file=sys.stderr)
    plan = replace(plan, questions={name: asked for name, asked in plan.questions.items() if name not in unmeasured})
    if unmeasured and (not plan.questions or chosen.against in unmeasured):
        return EXIT_NOT_MEASURED
    report = _report(plan, answers, chosen)
    _write(folder, report)
    print(text.render(report))
    print(f"\n{folder / 'report.html'} and {folder / 'report.json'} have the details")
    problems = [*gates.below_floors(report, floors)]
    if baseline is not None:
        problems += gates.drops(report, baseline, chosen.max_drop)
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    return EXIT_NOT_MEASURED if unmeasured else EXIT_FAILED if problems else 0


def run_compare(chosen: Namespace) -> int:
    """Compare two reports. Raises EvaluationError."""
    print(compare(chosen.first, chosen.second))
    return 0


def _plan(chosen: Namespace) -> Plan:
    task = load(
        Source(
            data=SAMPLE if chosen.sample_data else chosen.data,
            run=chosen.run_file,
            judgements=chosen.qrels,
            corpus=chosen.corpus,
            queries=chosen.queries,
            split=chosen.split,
            first_stage=chosen.first_stage,
            top=chosen.top,
            sample=chosen.sample,
            seed=chosen.seed,
        )
    )
    url = chosen.url or (None if chosen.config else os.environ.get(URL_VARIABLE))
    gateway = find_gateway(url, chosen.config or (None if url else chosen.default_config))
    names = choose(gateway, chosen.model)
    if names and not task.has_texts:
        raise EvaluationError("models need texts: give --corpus and --queries, or measure only `--model none`")
    asked = {}
    for name in names:
        served = gateway.served(name, chosen.max_tokens_per_doc)
        asked[name] = list(questions(task, served, chosen.probes))
    return Plan(gateway, task, asked)


def _answers(plan: Plan, file: AnswerFile, chosen: Namespace) -> tuple[dict[str, Answer], Mapping[str, str]]:
    """Every answer by its key, those on disk and those that were missing, which are asked for now; and what was said of
    a setup that is wrong, by model."""
    refusals: Mapping[str, str] = {}
    keys = {question.key for asked in plan.questions.values() for question in asked}
    with file:
        answers = {answer.key: answer for answer in file.read(keys)}
        missing = {name: _missing(asked, answers) for name, asked in plan.questions.items()}
        if any(missing.values()):
            _estimate(plan, missing, chosen.max_cost)
            print("every answer is kept: after Ctrl-C the same command goes on from there", file=sys.stderr)
            refusals = asyncio.run(_ask(plan, missing, file, chosen))
            answers = {answer.key: answer for answer in file.read(keys)}
    return answers, refusals


def _unmeasured(plan: Plan, answers: Mapping[str, Answer], refusals: Mapping[str, str]) -> dict[str, str]:
    """The models that answered nothing since the setup is wrong, and what was said of it."""
    return {
        name: reason
        for name, reason in refusals.items()
        if reason and len(_missing(plan.questions[name], answers)) == len({each.key for each in plan.questions[name]})
    }


def _missing(asked: Sequence[Question], answers: Mapping[str, Answer]) -> list[Question]:
    """Those without an answer, or with a failure in place of one; each call once."""
    wanted = {question.key: question for question in asked}
    return [question for key, question in wanted.items() if key not in answers or answers[key].error]


def _estimate(plan: Plan, missing: Mapping[str, Sequence[Question]], max_cost: float | None) -> None:
    """Say what is about to be asked and what it costs. Raises EvaluationError if that is too much, or unknown."""
    estimator = Estimator(plan.gateway.config)
    queries = {each.query_id: each.query for each in plan.task.candidates}
    total = 0.0
    for name, asked in missing.items():
        costs = [estimator.of(name, queries[each.query_id], plan.task.documents(each.ids)) for each in asked]
        known = [cost for cost in costs if cost is not None]
        total += sum(known)
        price = f"about {sum(known):.4f} US dollars" if len(known) == len(costs) else "at an unknown price"
        print(f"{name}: {len(asked):,} calls, {price}", file=sys.stderr)
        if max_cost is not None and len(known) < len(costs):
            raise EvaluationError(
                f"--max-cost needs the price of {name}: set it under `prices` of the configuration, 0 if it is free, "
                "and give the file by --config, also beside --url"
            )
    if max_cost is not None and total > max_cost:
        raise EvaluationError(
            f"this costs about {total:.4f} US dollars, more than --max-cost {max_cost:g}; nothing was asked"
        )


async def _ask(
    plan: Plan, missing: Mapping[str, Sequence[Question]], file: AnswerFile, chosen: Namespace
) -> dict[str, str]:
    contestants = {
        name: Contestant(
            iter(asked), plan.gateway.concurrency(name, chosen.concurrency), Pace(), chosen.max_tokens_per_doc
        )
        for name, asked in missing.items()
    }
    total = sum(map(len, missing.values()))
    async with open_asker(plan.gateway.url, plan.gateway.path) as asker:
        with progress("asking models", total) as advance:
            estimator, spending = Estimator(plan.gateway.config), Spending(chosen.max_cost)
            await Runner(asker, plan.task, file, estimator, spending, advance).run(contestants.values())
    return {name: contestant.refusal for name, contestant in contestants.items()}


def _report(plan: Plan, answers: Mapping[str, Answer], chosen: Namespace) -> Report:
    settings = Settings(
        max_tokens_per_doc=chosen.max_tokens_per_doc, probes=chosen.probes, seed=chosen.seed, gateway_version=VERSION
    )
    return build(
        Findings(
            task=plan.task,
            top=chosen.top,
            results=[Results(name, asked, answers) for name, asked in plan.questions.items()],
            score_spaces={name: plan.gateway.score_space(name) for name in plan.questions},
            targets={name: plan.gateway.target(name) for name in plan.questions},
            against=chosen.against,
            settings=settings,
            show_texts=chosen.show_texts,
        )
    )


def _write(folder: Path, report: Report) -> None:
    """Raises OSError."""
    page = html.render(report).encode()
    (folder / "report.json").write_bytes(encode(report))
    (folder / "report.html").write_bytes(page)
