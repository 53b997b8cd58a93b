"""One group comparison on rows that the ranker was trained on and on rows that are new to it, read together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scipy import stats

from recap_exp.scoring.difference import LEVEL, Difference
from recap_exp.scoring.report import ScoreReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def study_words(reports: Sequence[ScoreReport]) -> str:
    """Every report's own words, then what trained and new rows say together: one paragraph a line; empty where no groups are compared.

    Whether a difference is larger on trained than on new rows is tested itself (z of the two AUCs): that one test is significant
    and the other isn't, shows nothing.
    """
    lines = [r.words for r in reports if r.words]
    trained, new = [r for r in reports if r.difference and r.trained_on], [r for r in reports if r.difference and not r.trained_on]
    for t in trained:
        lines += [_together(t, n) for n in new]
    return "\n".join(lines)


def auc_gap(trained: Difference, new: Difference) -> tuple[float, float]:
    """AUC between groups on trained rows minus that on new rows, with the two-sided p of z = gap / sqrt(SE^2 + SE^2); independent rows."""
    gap = trained.auc.value - new.auc.value
    error = math.hypot(trained.auc_error, new.auc_error)
    return gap, float(2 * stats.norm.sf(abs(gap) / error)) if error > 0 else math.nan


def _together(trained: ScoreReport, new: ScoreReport) -> str:
    t, n = trained.difference, new.difference
    assert t is not None and n is not None
    gap, p = auc_gap(t, n)
    head = (
        f"{trained.partition} (trained on) and {new.partition} (new) together: AUC between the groups "
        f"{t.auc.value:.3f} and {n.auc.value:.3f}, gap {gap:+.3f}{'' if math.isnan(p) else f' (p = {p:.2g})'}."
    )
    labels_only = trained.groups is not None and trained.groups.labels_only
    if p < LEVEL and abs(t.auc.value - 0.5) > abs(n.auc.value - 0.5):
        tail = "The score tells the groups apart better on rows whose labels the ranker has seen: memorised labels, which don't carry over."
    elif t.significant and n.significant and t.difference.value * n.difference.value > 0:
        tail = (
            "Both differ alike, although by construction only labels do: look for a column that gives the group away."
            if labels_only
            else "Both differ alike: the features carry it, and memory isn't needed to explain it."
        )
    elif not t.significant and not n.significant:
        tail = "Neither shows a difference: what there may be lies within the bounds above."
    else:
        tail = "No memory follows from that: the gap is within chance, or the groups differ more on the new rows."
    return f"{head} {tail}"


def study_figure(reports: Sequence[ScoreReport]) -> Figure | None:
    """AUC between the groups on each partition with its interval; None where no groups are compared."""
    from recap_exp.scoring import plots

    compared = [(r, r.difference) for r in reports if r.difference]
    if not compared:
        return None
    fig = plots.new_figure(7.0, 1.5 + 0.5 * len(compared))
    ax = fig.add_subplot()
    for y, (r, d) in enumerate(reversed(compared)):
        colour = plots.ORANGE if r.trained_on else plots.BLUE
        ax.plot([d.auc.low, d.auc.high], [y, y], color=colour, linewidth=2)
        ax.plot(d.auc.value, y, "o", color=colour)
    labels = [f"{r.partition}\n({'trained on' if r.trained_on else 'new rows'})" for r, _ in reversed(compared)]
    ax.set_yticks(range(len(compared)), labels)
    ax.set_ylim(-0.6, len(compared) - 0.4)
    ax.axvline(0.5, color=plots.GREY, linewidth=0.8)
    first, second = compared[0][0].groups.labels  # type: ignore[union-attr]
    plots.tidy(ax, "Can the score tell the groups apart?", f"probability that {first} scores above {second} (95 % interval)", "")
    return fig
