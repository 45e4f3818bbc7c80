"""A fitted calibration as the section `calibrations` of a configuration has it."""

from __future__ import annotations

from evaluation.report.model import Contestant


def calibration_yaml(contestant: Contestant) -> str:
    """YAML to paste into the gateway's configuration; what cannot be pasted says why. "" if nothing was fitted."""
    found = contestant.calibration
    if found is None:
        return ""
    if found.platt.slope <= 0:
        return f"# {contestant.name}: the scores do not rise with relevance, so nothing makes probabilities of them\n"
    note = "" if contestant.target else f"# in place of {contestant.name}, write the `provider/model` that answered\n"
    steps = "".join(f"    #   - [{step.score:.6g}, {step.probability:.4g}]\n" for step in found.isotonic)
    return (
        f"{note}calibrations:\n"
        f'  "{contestant.target or contestant.name}":\n'
        f"    platt: {{slope: {found.platt.slope:.6g}, intercept: {found.platt.intercept:.6g}}}\n"
        f"    # or, in place of platt: from a score on, a probability\n    # isotonic:\n{steps}"
    )
