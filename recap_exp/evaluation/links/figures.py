"""Pictures of a link evaluation: how ranks depend on how often a node is met in training.

Shapes: E edges, S sides, K bins of degree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recap_exp.evaluation.figures import GREY, MODEL, SECOND
from recap_exp.evaluation.links.evaluate import LinkEvaluation
from recap_exp.evaluation.links.measures import error, mean

DRAWN = {"model": ("model", MODEL, "-"), "degree": ("degree", SECOND, "-"), "random": ("chance", GREY, "--")}
"""Label, colour and line of what is drawn."""


def link_figures(evaluation: LinkEvaluation) -> dict[str, Figure]:
    """Path -> figure: the mean reciprocal rank by the true end's number of training edges, beside the baselines, with 95 % intervals and
    the number of edges in each bin; a panel for each side."""
    sides = evaluation.sides
    width, height = 0.9 + 3.6 * len(sides), 4.0  # inches, from which the margins below follow
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    margins = {"left": 0.75 / width, "right": 1 - 0.15 / width, "bottom": 0.85 / height, "top": 1 - 1.0 / height}
    grid = figure.subplots(2, len(sides), squeeze=False, sharex="col", gridspec_kw={"height_ratios": [3, 1], "hspace": 0.08, **margins})
    top = 0.0
    for s, side in enumerate(sides):
        bin_E = _bins(evaluation.degree_ES[:, s])
        kept = np.unique(bin_E)
        of_K = [bin_E == k for k in kept]
        upper, lower = grid[0, s], grid[1, s]
        for name, (label, colour, line) in DRAWN.items():
            value_E = evaluation.columns[name]["mrr"][:, s, None]
            middle = np.array([mean(value_E[of_E]) for of_E in of_K])
            spread = 1.96 * np.nan_to_num([error(value_E[of_E]) for of_E in of_K])
            below = np.minimum(spread, middle)
            upper.errorbar(kept, middle, (below, spread), fmt=f"o{line}", ms=3, lw=1.2, color=colour, label=label)
            top = max(top, float((middle + spread).max()))
        _count(lower, kept, np.array([of_E.sum() for of_E in of_K]))
        overall = mean(evaluation.columns["model"]["mrr"][:, s])
        upper.set_title(f"{side} ends, MRR {overall:.3f}", fontsize=9)
        upper.spines[["top", "right"]].set_visible(False)
        upper.tick_params(labelsize=7)
    for upper in grid[0]:
        upper.set_ylim(0, min(top * 1.05, 1.02))
    grid[0, 0].set_ylabel("mean reciprocal rank", fontsize=8)
    grid[1, 0].set_ylabel("edges", fontsize=8)
    figure.supxlabel("training edges of the true end", fontsize=9, y=0.2 / height, va="center")
    said = f"Rank by degree · {evaluation.graph}, {evaluation.partition}, {evaluation.edges:,} edges"
    figure.text(0.15 / width, 1 - 0.3 / height, said, fontsize=11)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0.05 / width, 1 - 0.34 / height)}
    figure.legend(handles, labels, ncols=3, fontsize=8, frameon=False, **place)
    return {f"evaluation/{evaluation.partition}/degree.png": figure}


def _bins(degree_E: np.ndarray) -> np.ndarray:
    """0, 1, 2-3, 4-7, ...: one bin each."""
    return np.where(degree_E > 0, 1 + np.floor(np.log2(np.maximum(degree_E, 1))), 0).astype(int)


def _count(axes: Axes, bins_K: np.ndarray, count_K: np.ndarray) -> None:
    axes.bar(bins_K, count_K, width=0.7, color=GREY, alpha=0.5)
    for place, count in zip(bins_K, count_K, strict=True):
        axes.annotate(f"{count:,}", (place, count), ha="center", va="bottom", fontsize=6)
    axes.set_ylim(0, count_K.max() * 1.35)
    axes.set_yticks([])
    axes.set_xticks(bins_K, [_label(int(k)) for k in bins_K], fontsize=7, rotation=45 if len(bins_K) > 5 else 0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _label(k: int) -> str:
    if k < 2:
        return str(k)
    low, high = 2 ** (k - 1), 2**k - 1
    return f"{low}–{high}" if high < 1000 else f"{low / 1000:.2g}k–{(high + 1) / 1000:.2g}k" if low >= 1000 else f"{low}–1k"
