"""How much time and memory a large evaluation takes, without any model: its answers are simulated.

    python -m benchmarks.evaluation [--queries N] [--documents N] [--models N]

Makes a run, judgements and answers of as many models as asked for, and lets `rerank-gateway eval` report on them.
Prints the seconds of CPU and the most memory that the evaluation's process held.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from evaluation.data.load import Source, load
from evaluation.models import find_gateway
from evaluation.run.answers import Answer, AnswerFile
from evaluation.run.question import Question, questions

WORDS = 40
"""Of a document."""

RELEVANT = 3
"""Documents of each query that are judged relevant."""


def write_collection(folder: Path, queries: int, documents: int) -> None:
    """A corpus of ten times as many documents as a query has candidates, and a random run over it."""
    generator = random.Random(1)
    words = [f"word{number}" for number in range(5000)]
    corpus = [f"d{number}" for number in range(documents * 10)]
    with (folder / "corpus.jsonl").open("w") as stream:
        for key in corpus:
            stream.write(json.dumps({"_id": key, "text": " ".join(generator.choices(words, k=WORDS))}) + "\n")
    with (folder / "queries.jsonl").open("w") as texts, (folder / "a.run").open("w") as run:
        (folder / "qrels").mkdir()
        with (folder / "qrels" / "test.tsv").open("w") as judgements:
            judgements.write("query-id\tcorpus-id\tscore\n")
            for number in range(queries):
                texts.write(json.dumps({"_id": f"q{number}", "text": " ".join(generator.choices(words, k=6))}) + "\n")
                chosen = generator.sample(corpus, documents)
                run.writelines(f"q{number} Q0 {key} {place} {-place} x\n" for place, key in enumerate(chosen))
                judgements.writelines(f"q{number}\t{key}\t1\n" for key in generator.sample(chosen, RELEVANT))


def simulate(question: Question, relevant: frozenset[str], skill: float, generator: random.Random) -> Answer:
    """An answer in which relevant documents have higher scores by so many standard deviations."""
    scores = [generator.gauss(skill if key in relevant else 0.0, 1.0) for key in question.ids]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    latency = generator.lognormvariate(3, 0.5)
    ranked = [scores[index] for index in order]
    return Answer(question.key, question.model, question.variant, question.query_id, order, ranked, latency, 0.001)


def simulate_all(folder: Path, models: list[str]) -> Iterator[Answer]:
    """The answers of all models; each has a little more skill than the one before."""
    generator = random.Random(2)
    task = load(Source(data=str(folder), run=str(folder / "a.run"), top=10_000))
    gateway = find_gateway(None, str(folder / "gateway.yaml"))
    for place, model in enumerate(models):
        for question in questions(task, gateway.served(model, None), probes=50):
            relevant = frozenset(key for key, gain in task.gains(question.query_id).items() if gain > 0)
            yield simulate(question, relevant, 1 + place * 0.3, generator)


def main() -> None:
    """Simulate, evaluate, and print what it took."""
    parser = argparse.ArgumentParser(description="Time and memory of a large evaluation with simulated answers.")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--models", type=int, default=3)
    chosen = parser.parse_args()
    models = [f"own/m{number}" for number in range(chosen.models)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway.yaml").write_text("providers: {own: {adapter: passthrough}}\n")
        write_collection(folder, chosen.queries, chosen.documents)
        with AnswerFile(folder / "out" / "answers.jsonl") as file:
            for answer in simulate_all(folder, models):
                file.add(answer)
        command = [sys.executable, "-m", "gateway", "eval", "--data", ".", "--run", "a.run", "--top", "10000"]
        command += ["--config", "gateway.yaml", "--output", "out", *(f"--model={model}" for model in models)]
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\n{chosen.queries:,} queries x {chosen.documents} documents x {chosen.models} models: "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU, {used.ru_maxrss / 1024:,.0f} MB"
    )


if __name__ == "__main__":
    main()
