"""Which jobs of a sweep are the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from recap_exp.sweep.jobs import JobCard


def front(cards: Sequence[JobCard], objectives: Mapping[str, Literal["maximize", "minimize"]]) -> list[JobCard]:
    """Jobs that no other job beats: at least as good in every objective and better in one (the Pareto front).

    With one objective that is the best job, the earliest of equals. Jobs without a finite value in every objective are left out; without
    objectives there is no best.
    """
    if not objectives:
        return []
    signs = [1.0 if direction == "maximize" else -1.0 for direction in objectives.values()]
    goods = [(card, [sign * card.values.get(name, float("nan")) for name, sign in zip(objectives, signs, strict=True)]) for card in cards]
    goods = [(card, good) for card, good in goods if all(abs(v) < float("inf") for v in good)]
    found = [card for card, good in goods if not any(_beats(other, good) for _, other in goods)]
    return found[:1] if len(objectives) == 1 else found


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))
