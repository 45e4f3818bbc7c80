"""What the exact cache costs and saves: CPU of one request through the policy, less that of the target inside.

    python -m benchmarks.score_cache [--documents N] [--bytes N]

Three requests are timed: one whose documents are all new, one of which nine in ten are known, one whose are all known.
The target is a function that answers at once. Prints microseconds of CPU, of the quickest of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import count

from gateway.cache.memory import MemoryEntries
from gateway.policy.score_cache import Cache, CacheStats, ScoreCache
from gateway.policy.target_id import TargetId
from providers.types import Backend, Call, Ranked, Ranking, RerankRequest

ROUNDS, REQUESTS = 9, 500
NUMBERS = count()


class Target:
    """Answers with as many results as documents, made beforehand."""

    def __init__(self, documents: int) -> None:
        self._answers = [
            Ranking(results=[Ranked(i, 1 / (i + 1)) for i in range(n)], provider="p", model="m")
            for n in range(documents + 1)
        ]

    async def rerank(self, request: RerankRequest) -> Ranking:
        return self._answers[len(request.documents)]

    async def ready(self) -> bool:
        return True


def request_of(documents: int, size: int, known: int) -> RerankRequest:
    """A request of so many documents, the first `known` of which are the same in every request."""
    texts = [
        f"{number if number < known else next(NUMBERS) + 10**6:>12} ".ljust(size, "x") for number in range(documents)
    ]
    query = "what is it" if known else f"what is {next(NUMBERS)}"
    return RerankRequest(model="m", query=query, documents=list(texts), call=Call(id="1"))


async def cpu(backend: Backend, documents: int, size: int, known: int) -> float:
    """Microseconds of CPU for one request."""
    rounds = []
    for _ in range(ROUNDS):
        requests = [request_of(documents, size, known) for _ in range(REQUESTS)]
        start = time.process_time()
        for request in requests:
            await backend.rerank(request)
        rounds.append((time.process_time() - start) / REQUESTS * 1e6)
    return min(rounds)


async def measure(documents: int, size: int) -> None:
    target = Target(documents)
    policy = ScoreCache(
        target,
        Cache(MemoryEntries(64 << 20, 3600), b"s" * 32, {}),
        TargetId("p", "m"),
        b"t" * 32,
        True,
        None,
        CacheStats(),
    )
    bare = await cpu(target, documents, size, 0)
    print(f"{documents} documents of {size} bytes")
    for name, known in (("all new", 0), ("nine in ten known", documents * 9 // 10), ("all known", documents)):
        print(f"{name:18} {await cpu(policy, documents, size, known) - bare:7.1f} us")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=500)
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.documents, chosen.bytes))


if __name__ == "__main__":
    main()
