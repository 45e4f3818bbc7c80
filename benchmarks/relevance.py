"""How well models rank: nDCG@10 on a test collection, through a running gateway, and whether a difference is chance.

    rerank-gateway serve --config benchmarks/relevance.yaml
    python -m benchmarks.relevance FOLDER --model local/minilm --model local/minilm-lexical

FOLDER, BM25 and nDCG are those of benchmarks/cranfield.py. Each model puts the same documents in order: BM25's best, or
those of another search (`--run`, in TREC's format: query, Q0, document, rank, score, name; separated by white space).
Needs no more than Python.

p is that of a two-sided paired randomisation test: how often the mean difference of the queries is at least as large
as the one seen, if for each query it is drawn which of the two rankings is whose. Source: M. Smucker, J. Allan and
B. Carterette, A comparison of statistical significance tests for information retrieval evaluation, CIKM 2007.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.cranfield import K1, B, Bm25, Collection, ndcg, read, rerank

DRAWS = 20_000

Candidates = dict[str, list[str]]
"""The documents that are put in order, by query."""


def randomisation_p(differences: Sequence[float], draws: int = DRAWS) -> float:
    """The two-sided p of paired differences; 1 if there are none. Seeded, so that it is the same in every run."""
    seen = abs(sum(differences)) - 1e-12
    draw = random.Random(0)
    signs = (draw.getrandbits(len(differences) or 1) for _ in range(draws))
    sums = (sum(value if bits >> place & 1 else -value for place, value in enumerate(differences)) for bits in signs)
    # The ranking that was seen is one of the possible ones, so p is never 0.
    return (1 + sum(abs(total) >= seen for total in sums)) / (1 + draws)


def best_of_bm25(collection: Collection, depth: int) -> Candidates:
    index = Bm25(collection.corpus)
    return {key: index.best(query, depth) for key, query in collection.queries.items()}


def read_run(lines: Iterable[str], depth: int) -> Candidates:
    """The best documents of each query in a TREC run, in the order of their ranks."""
    ranks: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        query, _, document, rank, *_ = line.split()
        ranks.setdefault(query, []).append((int(rank), document))
    return {query: [document for _, document in sorted(rows)[:depth]] for query, rows in ranks.items()}


def evaluate(collection: Collection, candidates: Candidates, url: str, model: str) -> list[float]:
    """nDCG@10 of each query. Empty documents are left out: no reranker takes them."""
    figures = []
    for key, documents in candidates.items():
        before = [document for document in documents if collection.corpus[document]]
        texts = [collection.corpus[document] for document in before]
        order = rerank(url, model, collection.queries[key], texts) if texts else []
        figures.append(ndcg([before[place] for place in order], collection.judgements.get(key, {})))
    return figures


def show(name: str, figures: list[float], others: dict[str, list[float]], seconds: float | None = None) -> None:
    """A row of a Markdown table: the mean, and the difference from each of the others with its p."""
    cells = [name, f"{statistics.fmean(figures):.4f}"]
    for other in others.values():
        differences = [mine - theirs for mine, theirs in zip(figures, other, strict=True)]
        cells.append(f"{statistics.fmean(differences):+.4f} (p {randomisation_p(differences):.4f})")
    print(f"| {' | '.join(cells)} |" + (f"  {seconds:.0f} s" if seconds else ""), flush=True)


def main() -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description="nDCG@10 of models through a gateway, with paired randomisation p.")
    parser.add_argument("folder", type=Path, help="a test collection in BEIR's layout")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="a running gateway")
    parser.add_argument("--model", action="append", required=True, help="what to rank by; may be given several times")
    parser.add_argument("--run", type=Path, help="a TREC run whose documents are ranked, in place of BM25's best")
    parser.add_argument("--queries", type=int, default=None, metavar="N", help="how many of the first queries")
    parser.add_argument("--depth", type=int, default=50, metavar="N", help="how many documents of each query")
    chosen = parser.parse_args()
    collection = read(chosen.folder)
    found = read_run(chosen.run.open(), chosen.depth) if chosen.run else best_of_bm25(collection, chosen.depth)
    candidates = dict(list(found.items())[: chosen.queries])
    if not candidates:
        sys.exit("there is no query to rank for")
    first = chosen.run.name if chosen.run else f"BM25 (k1 {K1}, b {B})"
    rows = {first: [ndcg(documents, collection.judgements.get(key, {})) for key, documents in candidates.items()]}
    print(f"{chosen.folder.name}: {len(candidates)} queries, {chosen.depth} documents each; differences are from the")
    print("rows above, in their order")
    show(first, rows[first], {})
    for model in chosen.model:
        start = time.monotonic()
        figures = evaluate(collection, candidates, chosen.url, model)
        show(model, figures, rows, time.monotonic() - start)
        rows[model] = figures


if __name__ == "__main__":
    main()
