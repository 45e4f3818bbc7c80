"""Plot the CPU time per request of each server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = {
    "nginx": "nginx proxy_pass\n(bytes only)",
    "bare": "bare ASGI + aiohttp\n(bytes only)",
    "gateway": "rerank-gateway",
    "litellm": "LiteLLM proxy",
}


def draw(rows: Sequence[Any], path: Path) -> None:
    """Bars of CPU-µs per request at concurrency 32, one group for each number of documents; logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if row.case.concurrency == 32 and row.figures.cpu and row.stack in NAMES]
    counts = sorted({row.case.documents for row in shown})
    stacks = [name for name in NAMES if any(row.stack == name for row in shown)]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.28 * len(stacks) * len(counts)))
    shades = ["#9ecae1", "#4292c6", "#08519c"]
    for offset, documents in enumerate(counts):
        found = {row.stack: row.figures.cpu for row in shown if row.case.documents == documents}
        heights = [found.get(name, 0) for name in stacks]
        places = [index + offset * 0.27 for index in range(len(stacks))]
        bars = axes.barh(places, heights, height=0.25, color=shades[offset % 3], label=f"{documents} documents")
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set_yticks([index + 0.27 * (len(counts) - 1) / 2 for index in range(len(stacks))], [NAMES[n] for n in stacks])
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel("CPU time per request, µs (logarithmic; one core, concurrency 32)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
