"""Scores as tables: small ones to read, and one of all candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from recap_exp.scoring.compare import Comparison
from recap_exp.scoring.difference import Difference
from recap_exp.scoring.score import Scores


def small_tables(
    stage: str, scores: Scores, names: dict[str, np.ndarray], difference: Difference | None, comparison: Comparison
) -> dict[str, dict[str, list[Any]]]:
    """By artifact path: the engagements, the best candidates, the group test, the weight sets compared and who moves most between them.

    `names`: what a candidate is called by, arrays of N (ids, group).
    """
    terms = scores.weights.terms
    tables: dict[str, dict[str, list[Any]]] = {
        "engagements": {
            "engagement": [t.name for t in terms],
            "task": [t.task for t in terms],
            "weight": [t.weight for t in terms],
            "mean_contribution": scores.mean_E.tolist(),
            "share": scores.share_E.tolist(),
        },
        "top": _top(scores, names),
    }
    if difference:
        tables["group_test"] = {"quantity": list(flat := difference.flat()), "value": list(flat.values())}
    if comparison.pairs:
        tables["weight_sets"] = comparison.table()
    for other in comparison.with_base():
        tables[f"movers_{other}"] = comparison.movers(other, names)
    return {f"{stage}/{name}.csv": columns for name, columns in tables.items()}


def _top(scores: Scores, names: dict[str, np.ndarray], count: int = 100) -> dict[str, list[Any]]:
    """The best candidates with each engagement's contribution."""
    rows = scores.order[:count]
    columns = {"rank": list(range(1, len(rows) + 1)), "row": rows.tolist(), **{k: v[rows].tolist() for k, v in names.items()}}
    columns |= {t.name: scores.contributions_NE[rows, e].tolist() for e, t in enumerate(scores.weights.terms)}
    return columns | {"sum": scores.sum_N[rows].tolist(), "score": scores.score_N[rows].tolist()}


def candidate_table(scores: Scores, names: dict[str, np.ndarray], probs_NT: np.ndarray, tasks: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One row a candidate in the order of the data: who it is, every probability, every contribution, sum, score and place."""
    columns = {"row": np.arange(len(scores)), **names}
    columns |= {f"probability/{task}": probs_NT[:, i] for i, task in enumerate(tasks)}
    columns |= {f"contribution/{t.name}": scores.contributions_NE[:, e] for e, t in enumerate(scores.weights.terms)}
    return columns | {"sum": scores.sum_N, "score": scores.score_N, "rank": scores.rank}
