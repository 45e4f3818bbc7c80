"""What reranking is worth: BM25's best documents of a test collection, ranked again through a running gateway.

    python -m benchmarks.cranfield FOLDER [--url URL] [--model MODEL] [--queries N] [--depth N]

FOLDER is in BEIR's layout: corpus.jsonl and queries.jsonl (`_id`, `title`, `text`) and qrels/test.tsv. Needs no more
than Python. Prints nDCG@10 before and after.

BM25 is Lucene's: idf = ln(1 + (N - df + 0.5) / (df + 0.5)), k1 = 1.2, b = 0.75; words are runs of letters and digits in
lower case, without stemming or stop words; a document is its title and its text. nDCG is trec_eval's `ndcg_cut_10`: the
gain is the judgement, the discount log2(rank + 1), the ideal that of all judged documents.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

K1, B = 1.2, 0.75
CUTOFF = 10
WORD = re.compile(r"[a-z0-9]+")

Judgements = dict[str, dict[str, int]]


class Collection(NamedTuple):
    """Texts by id, in the files' order, and the judgements by query."""

    corpus: dict[str, str]
    queries: dict[str, str]
    judgements: Judgements


class Bm25:
    """An index of texts."""

    def __init__(self, corpus: dict[str, str]) -> None:
        bags = {key: Counter(WORD.findall(text.lower())) for key, text in corpus.items()}
        lengths = {key: sum(bag.values()) for key, bag in bags.items()}
        average = statistics.fmean(lengths.values())
        self._weights: dict[str, dict[str, float]] = {}
        for key, bag in bags.items():
            norm = K1 * (1 - B + B * lengths[key] / average)
            for word, count in bag.items():
                self._weights.setdefault(word, {})[key] = count / (count + norm)
        self._size = len(corpus)

    def best(self, query: str, depth: int) -> list[str]:
        """The ids of the best documents, best first."""
        scores: dict[str, float] = {}
        for word in WORD.findall(query.lower()):
            weights = self._weights.get(word, {})
            idf = math.log(1 + (self._size - len(weights) + 0.5) / (len(weights) + 0.5))
            for key, weight in weights.items():
                scores[key] = scores.get(key, 0.0) + idf * weight
        return sorted(scores, key=lambda key: (-scores[key], key))[:depth]


def ndcg(ranked: Sequence[str], judged: dict[str, int]) -> float:
    """nDCG@10 of one query; 0 if nothing is judged relevant."""
    ideal = _gain(sorted(judged.values(), reverse=True))
    return _gain(judged.get(key, 0) for key in ranked) / ideal if ideal else 0.0


def _gain(judgements: Iterable[int]) -> float:
    top = [max(0, gain) for _, gain in zip(range(CUTOFF), judgements, strict=False)]
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(top, 1))


def read(folder: Path) -> Collection:
    """A collection in BEIR's layout."""
    judgements: Judgements = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, gain = line.split("\t")
        judgements.setdefault(query, {})[document] = int(gain)
    return Collection(_texts(folder / "corpus.jsonl"), _texts(folder / "queries.jsonl"), judgements)


def _texts(file: Path) -> dict[str, str]:
    rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows}


def rerank(url: str, model: str, query: str, texts: Sequence[str]) -> list[int]:
    """The order in which the gateway puts these texts. Raises SystemExit with its own sentence if it refuses."""
    body = json.dumps({"model": model, "query": query, "documents": list(texts)}).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/v1/rerank", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return [row["index"] for row in json.load(response)["results"]]
    except urllib.error.HTTPError as error:
        sys.exit(f"the gateway answered {error.code}: {json.load(error)['message']}")
    except urllib.error.URLError as error:
        sys.exit(f"cannot reach {url}: {error.reason}")


def evaluate(collection: Collection, url: str, model: str, count: int, depth: int) -> Iterator[tuple[float, float]]:
    """nDCG@10 before and after, query by query. Empty documents are left out: no reranker takes them."""
    index = Bm25(collection.corpus)
    for key, query in list(collection.queries.items())[:count]:
        judged = collection.judgements.get(key, {})
        before = [document for document in index.best(query, depth) if collection.corpus[document]]
        order = rerank(url, model, query, [collection.corpus[document] for document in before])
        yield ndcg(before, judged), ndcg([before[place] for place in order], judged)


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description="nDCG@10 of BM25 before and after reranking through a gateway.")
    parser.add_argument("folder", type=Path, help="a test collection in BEIR's layout")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="a running gateway")
    parser.add_argument("--model", default="local/all-minilm-l6-v2", help="what to rank by")
    parser.add_argument("--queries", type=int, default=50, metavar="N", help="how many of the first queries")
    parser.add_argument("--depth", type=int, default=50, metavar="N", help="how many of BM25's best to rank again")
    chosen = parser.parse_args()
    start = time.monotonic()
    pairs = list(evaluate(read(chosen.folder), chosen.url, chosen.model, chosen.queries, chosen.depth))
    before, after = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    print(f"{chosen.folder.name}: {len(pairs)} queries, BM25 (k1 {K1}, b {B}) top {chosen.depth}, {chosen.model}")
    print(f"nDCG@10 before {before:.4f}  after {after:.4f}  ({time.monotonic() - start:.1f} s)")


if __name__ == "__main__":
    main()
