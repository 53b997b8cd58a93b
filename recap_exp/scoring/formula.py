"""A candidate's score written out as the fork prints it: every task's probability, the formula with its numbers, the score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recap_exp.scoring.score import Scores


def formula_lines(
    scores: Scores, probs_NT: np.ndarray, tasks: Sequence[str], count: int, names: dict[str, np.ndarray] | None = None
) -> list[str]:
    """Two lines a candidate for the first `count`: who it is with all its probabilities, then `weight x probability + ... = score`.

    `names`: what a candidate is called by, arrays of N (ids, group). Probabilities that no term reads are shown too.
    """
    weights = scores.weights
    columns = weights.columns(tasks)
    lines = []
    for row in range(min(count, len(scores))):
        called = "".join(f" {key}={_value(array[row])}" for key, array in (names or {}).items())
        shown = "  ".join(f"{task} {probs_NT[row, i]:.6g}" for i, task in enumerate(tasks))
        terms = zip((t.weight for t in weights.terms), (float(probs_NT[row, c]) for c in columns), strict=True)
        formula = " ".join(_term(weight, prob, first=k == 0) for k, (weight, prob) in enumerate(terms))
        mapped = f", mapped {scores.score_N[row]:.6g}" if weights.positive_mapping else ""
        lines += [f"candidate {row}{called}: {shown}", f"  score = {formula} = {scores.sum_N[row]:.6g}{mapped}"]
    return lines


def _term(weight: float, prob: float, *, first: bool) -> str:
    sign = "-" if weight < 0 else "" if first else "+"
    return f"{sign}{'' if first else ' '}{abs(weight):.6g} x {prob:.6g}"


def _value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
