"""The evaluation as pictures: one small panel a task, the same colours everywhere.

Colours from Okabe and Ito's palette, which all kinds of colour vision tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recap_exp.evaluation.evaluate import Evaluation
from recap_exp.evaluation.outcomes import Outcomes
from recap_exp.metrics.calibration import Reliability
from recap_exp.metrics.ranking import Ranking

MODEL, SECOND, GREY = "#0072B2", "#E69F00", "#666666"
"""The model; what stands beside it (the truth, the calibrated probability, the positives); what is only there to compare with."""
POINTS = 400
"""A curve is thinned to about so many."""


@dataclass(frozen=True)
class Drawing:
    """What one figure shows in every panel."""

    title: str
    x: str
    y: str
    draw: Callable[[Axes, Outcomes], None]
    number: tuple[str, str]
    """Name and metric of the number that stands under the task's name."""


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Path -> figure: ROC, precision and recall, reliability, distributions of the probabilities, and where the truth is known the
    probability against it."""
    auroc = ("AUROC", "auroc")
    drawings = {
        "roc": Drawing("ROC", "false positive rate", "true positive rate", _roc, auroc),
        "precision_recall": Drawing(
            "Precision and recall", "recall", "precision", _precision_recall, ("average precision", "average_precision")
        ),
        "reliability": Drawing(
            "Reliability in bins of equal weight, with 95 % intervals",
            "mean probability",
            "share of positives",
            _reliability,
            ("pCTR / CTR", "calibration"),
        ),
        "probabilities": Drawing("Distribution of the probabilities", "probability", "density on the log scale", _probabilities, auroc),
        "truth": Drawing(
            "Probability against the truth", "true probability", "probability", _truth, ("AUROC / the truth's", "auroc_ratio")
        ),
    }
    made = {}
    for name, drawing in drawings.items():
        tasks = [task for task, o in evaluation.outcomes.items() if name != "truth" or o.truths_N is not None]
        if tasks:
            made[f"evaluation/{evaluation.partition}/{name}.png"] = _panels(evaluation, tasks, drawing)
    return made


def _panels(evaluation: Evaluation, tasks: list[str], drawing: Drawing) -> Figure:
    columns = min(len(tasks), 5)
    rows = math.ceil(len(tasks) / columns)
    width, height = 0.8 + max(2.4 * columns, 5), 1.2 + 2.7 * rows  # inches, from which the margins below follow
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    margins = {"left": 0.75 / width, "right": 1 - 0.15 / width, "bottom": 0.75 / height, "top": 1 - 1.15 / height}
    figure.subplots_adjust(**margins, wspace=0.3, hspace=0.5)  # a layout engine would draw everything twice more
    legend: dict[str, Any] = {}
    for i, task in enumerate(tasks):
        axes = figure.add_subplot(rows, columns, i + 1)
        drawing.draw(axes, evaluation.outcomes[task])
        name, metric = drawing.number
        value, se = evaluation.tasks[task][metric], evaluation.tasks[task].get(f"{metric}_se", math.nan)
        spread = "" if math.isnan(se) else f" ± {se:.3f}"
        said = "undefined" if math.isnan(value) else f"{value:.3f}{spread}"
        axes.set_title("\n".join([*_lines(task), f"{name} {said}"]), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    figure.text(0.15 / width, 1 - 0.3 / height, f"{drawing.title} · {evaluation.partition}, {evaluation.examples:,} examples", fontsize=11)
    figure.supxlabel(drawing.x, fontsize=9, y=0.2 / height, va="center")
    figure.supylabel(drawing.y, fontsize=9, x=0.2 / width, ha="center")
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="upper left",
        bbox_to_anchor=(0.05 / width, 1 - 0.32 / height),
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    return figure


def _lines(task: str) -> list[str]:
    """A long name in lines that end at an underscore."""
    return [line.replace(" ", "") for line in wrap(task.replace("_", "_ "), 30)]


def _log(axis: XAxis | YAxis, low: float, high: float) -> None:
    """A logarithmic axis from `low` to `high` with few and plain ticks."""
    if not low < high:
        low, high = low / 2, high * 2
    which = axis.axis_name
    axis.axes.set(**{f"{which}lim": (low, high)})  # first, or data without a positive value would warn
    axis.axes.set(**{f"{which}scale": "log"})
    decades = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [t for t in np.outer(decades, steps).ravel() if low <= t <= high]
        if len(ticks) > 2:
            break
    ticks = ticks[:: math.ceil(len(ticks) / 4) or 1]
    axis.set_ticks(ticks, [f"{t:.0e}".replace("e-0", "e-") if t < 1e-3 else f"{t:g}" for t in ticks])
    axis.set_ticks([], minor=True)


def _ranking(o: Outcomes, scores_N: np.ndarray) -> Ranking:
    return Ranking.of(scores_N, o.labels_N, o.weights_N)


def _scores(o: Outcomes) -> list[tuple[str, np.ndarray, str]]:
    """Label, scores and colour of the model and, where there is one, of the truth behind it."""
    truth = [] if o.truths_N is None else [("truth", o.truths_N, SECOND)]
    return [*truth, ("model", o.probs_N, MODEL)]


def _roc(axes: Axes, o: Outcomes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--", label="no knowledge")
    for label, scores_N, colour in _scores(o):
        fpr, tpr, _ = _ranking(o, scores_N).roc()
        rows = _thin(fpr, tpr)
        axes.plot(np.r_[0, fpr[rows]], np.r_[0, tpr[rows]], color=colour, lw=1.4, label=label)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])


def _precision_recall(axes: Axes, o: Outcomes) -> None:
    rate = float(np.average(o.labels_N, weights=o.weights_N))
    axes.axhline(rate, color=GREY, lw=0.8, ls="--", label="no knowledge")
    for label, scores_N, colour in _scores(o):
        recall, precision, _ = _ranking(o, scores_N).precision_recall()
        rows = _thin(recall, precision)
        axes.step(recall[rows], precision[rows], color=colour, lw=1.4, where="pre", label=label)
    axes.set(xlim=(-0.02, 1.02), xticks=[0, 0.5, 1])
    _log(axes.yaxis, max(rate, 1e-9) / 2, 1.1)


def _reliability(axes: Axes, o: Outcomes) -> None:
    bins = int(np.clip(o.labels_N.sum() // 10, 3, 12))  # some ten positives a bin
    versions = [("model", o.probs_N, MODEL)] + ([] if o.calibrated_N is None else [("calibrated", o.calibrated_N, SECOND)])
    low, high = 1.0, 0.0
    for label, probs_N, colour in versions:
        r = Reliability.of(_ranking(o, probs_N), bins)
        axes.errorbar(
            r.prob_K, r.rate_K, (r.rate_K - r.low_K, r.high_K - r.rate_K), fmt="o", ms=3, lw=1, color=colour, label=label, clip_on=True
        )
        seen = np.concatenate([r.prob_K, r.rate_K])
        seen = seen[seen > 0]
        if len(seen):
            low, high = min(low, seen.min()), max(high, seen.max())
    low, high = (low / 2, min(high * 2, 1.2)) if high > 0 else (1e-3, 1.0)
    axes.plot([low, high], [low, high], color=GREY, lw=0.8, ls="--", label="perfectly calibrated", zorder=0)
    _log(axes.xaxis, low, high)
    _log(axes.yaxis, low, high)


def _probabilities(axes: Axes, o: Outcomes) -> None:
    logs_N = np.log10(np.clip(o.probs_N, 1e-9, 1))
    edges = np.linspace(min(logs_N.min(), -0.5), 0, 41)
    for label, rows_N, colour in (("negatives", ~o.labels_N, GREY), ("positives", o.labels_N, MODEL)):
        if rows_N.any():
            weights_N = None if o.weights_N is None else o.weights_N[rows_N]
            density, _ = np.histogram(logs_N[rows_N], edges, weights=weights_N, density=True)
            axes.stairs(density, 10**edges, color=colour, fill=True, alpha=0.35)
            axes.stairs(density, 10**edges, color=colour, lw=1.2, label=label)
    axes.axvline(float(np.average(o.labels_N, weights=o.weights_N)), color=SECOND, lw=1.2, label="mean label")
    _log(axes.xaxis, 10 ** edges[0], 1.0)
    axes.set_yticks([])


def _truth(axes: Axes, o: Outcomes) -> None:
    assert o.truths_N is not None
    order_N = np.argsort(o.truths_N, kind="stable")
    parts = [rows for rows in np.array_split(order_N, 20) if len(rows)]
    truth = [o.truths_N[rows].mean() for rows in parts]
    low, middle, high = np.array([np.quantile(o.probs_N[rows], (0.1, 0.5, 0.9)) for rows in parts]).T
    axes.fill_between(truth, low, high, color=MODEL, alpha=0.25, lw=0, label="model, 80 % of the rows")
    axes.plot(truth, middle, color=MODEL, lw=1.4, label="model, median")
    ends = (max(min(truth), 1e-9), max(*truth, 1e-9))
    axes.plot(ends, ends, color=GREY, lw=0.8, ls="--", label="the truth itself")
    _log(axes.xaxis, *ends)
    _log(axes.yaxis, min(ends[0], max(low.min(), 1e-9)), max(ends[1], high.max()))


def _thin(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows of about POINTS points, evenly along the curve, both ends among them."""
    length = np.cumsum(np.abs(np.diff(x, prepend=x[0])) + np.abs(np.diff(y, prepend=y[0])))
    if len(x) <= POINTS or not length[-1] > 0:
        return np.arange(len(x))
    return np.unique(np.r_[0, np.searchsorted(length, np.linspace(0, length[-1], POINTS)), len(x) - 1])
