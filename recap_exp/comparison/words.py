"""What a comparison says, in a sentence or two."""

from __future__ import annotations

from collections import Counter

from recap_exp.comparison.compare import Comparison, direction
from recap_exp.comparison.tables import decimals


def answer(c: Comparison) -> list[str]:
    """Which setting is the best by the first metric and how sure that is; then what the other metrics say of it."""
    metric, reference = c.metrics[0], c.settings[c.reference]
    with_runs = [i for i, setting in enumerate(c.settings) if setting.runs]
    digits = decimals(c, metric)
    s = c.summaries[metric][c.reference]
    value = f"{s.mean:.{digits}f}" + (f" ± {s.std:.{digits}f} over {s.n} seeds" if s.n > 1 else "")
    if len(with_runs) == 1:
        return [f"{metric} is {value}."]
    better = direction(c.runs, metric)
    what = "The baseline" if c.chosen else "The first setting" if better is None else "The best setting"
    end = "" if c.chosen or better is None else " (the highest)" if better else " (the lowest)"
    said = [f"{what} by {metric}{end} is {reference.label}: {value}. {_verdicts(c, metric)}".strip()]
    return said + [f"By {other}: {told[0].lower()}{told[1:]}" for other in c.metrics[1:] if (told := _verdicts(c, other))]


def _verdicts(c: Comparison, metric: str) -> str:
    """How many of the other settings differ from the reference, in which direction."""
    if not c.seeds:
        return ""
    told = [d for i, d in enumerate(c.differences[metric]) if d is not None and c.summaries[metric][i].n]
    better = direction(c.runs, metric)
    counts: Counter[str] = Counter()
    for d in told:
        if d.verdict == "more than noise":
            side = ("higher" if d.mean > 0 else "lower") if better is None else "better" if (d.mean > 0) == better else "worse"
            counts[f"{side} by more than noise"] += 1
        else:
            counts[{"within noise": "within noise of it", "the same": "the same"}.get(d.verdict, "run with too few seeds to say")] += 1
    parts = [f"{n} {'is' if n == 1 else 'are'} {what}" for what, n in counts.items()]
    if len(counts) == 1 and len(told) > 1:
        return f"All {len(told)} others are {next(iter(counts))}."
    if len(told) == 1:
        return f"The other {parts[0].removeprefix('1 ')}."
    return f"Of {len(told)} others {', '.join(parts)}." if told else ""
