"""A fitted calibration as text that can be copied."""

from __future__ import annotations

from evaluation.measures.calibration import Calibration


def calibration_yaml(model: str, found: Calibration) -> str:
    """The parameters in YAML. The configuration has no key for them yet: callers apply them to the scores."""
    steps = "\n".join(f"  - [{step.score:.6g}, {step.probability:.4g}]" for step in found.isotonic)
    return (
        f"# {model}: probability = 1 / (1 + exp(-(slope * score + intercept)))\n"
        f"platt: {{slope: {found.platt.slope:.6g}, intercept: {found.platt.intercept:.6g}}}\n"
        f"# or: from this score on, this probability\nisotonic:\n{steps}\n"
    )
