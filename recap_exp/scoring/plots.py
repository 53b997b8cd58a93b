"""Pictures of scores. Figures are made without pyplot, so that runs share nothing; colours are Okabe and Ito's, colour-blind safe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

from recap_exp.scoring.asinh import linear_width
from recap_exp.scoring.asinh import ticks as ticks_of
from recap_exp.scoring.groups import Groups
from recap_exp.scoring.score import Scores

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
SAMPLE = 5000
"""Candidates that density curves and scatter plots read at most; a larger set is sampled with a fixed seed, and the picture says so."""
CURVE = 10
"""Candidates that a density curve needs at least."""


def new_figure(width: float = 7.0, height: float = 4.2) -> Figure:
    """An empty figure."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Title, axis labels, no box."""
    ax.set(xlabel=x, ylabel=y)
    ax.set_title(title, loc="left", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)


def sample_rows(count: int, most: int = SAMPLE) -> np.ndarray:
    """All rows, or `most` of them drawn without replacement, always the same."""
    return np.arange(count) if count <= most else np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def distribution(sum_N: np.ndarray, groups: Groups | None, title: str) -> Figure:
    """Histogram of the weighted sums, as densities, with a Gaussian kernel density curve (Scott's rule) for each group.

    On an asinh axis both are densities along the axis as drawn, so that areas are shares of candidates there too.
    """
    parts = dict(zip(groups.labels, groups.split(sum_N), strict=True)) if groups else {"all candidates": sum_N}
    parts = {label: values for label, values in parts.items() if len(values)}
    shown = np.concatenate(list(parts.values()))
    width = linear_width(shown)

    def along(x: np.ndarray) -> np.ndarray:
        return np.arcsinh(x / width) if width else x

    def back(z: np.ndarray) -> np.ndarray:
        return np.sinh(z) * width if width else z

    low, high = np.quantile(along(shown), [0.001, 0.999])
    pad = 0.02 * (high - low) or 0.5
    edges, grid = np.linspace(low - pad, high + pad, 61), np.linspace(low - pad, high + pad, 256)
    fig = new_figure()
    ax = fig.add_subplot()
    sampled = False
    for (label, values), colour in zip(parts.items(), (BLUE, ORANGE), strict=False):
        # divided by all candidates, not density=True: those beyond the axis keep their share of the area
        height = np.histogram(along(values), edges)[0] / (len(values) * (edges[1] - edges[0]))
        ax.stairs(height, back(edges), fill=True, color=colour, alpha=0.35, label=f"{label} ({len(values):,}, mean {values.mean():.4g})")
        ax.axvline(values.mean(), color=colour, linestyle=":", linewidth=1)
        rows = sample_rows(len(values))
        sampled |= len(rows) < len(values)
        if len(rows) >= CURVE and np.ptp(values[rows]) > 1e-9 * max(1.0, np.abs(values).max()):
            ax.plot(back(grid), stats.gaussian_kde(along(values[rows]))(grid), color=colour, linewidth=1.8)
    outside = int(((along(shown) < edges[0]) | (along(shown) > edges[-1])).sum())
    notes = [f"{outside:,} candidates beyond the axis"] * (outside > 0) + [f"density curves from {SAMPLE:,} candidates a group"] * sampled
    tidy(ax, title, "score (weighted sum)" + (f"\n{'; '.join(notes)}" if notes else ""), "density along the axis" if width else "density")
    if width:
        ax.set_xscale("asinh", linear_width=width)
        ax.set_xticks(ticks := ticks_of(width, *back(edges[[0, -1]])), [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    ax.set_xlim(*back(edges[[0, -1]]))
    ax.legend(frameon=False, fontsize=9)
    return fig


def contributions(scores: Scores, title: str) -> Figure:
    """Mean contribution of each engagement, with its sign, and its share of the mean absolute contribution."""
    terms = scores.weights.terms
    mean_E, share_E = scores.mean_E, scores.share_E
    colours = [BLUE if m >= 0 else ORANGE for m in mean_E]
    y = np.arange(len(terms))[::-1]
    fig = new_figure(9.0, 1.6 + 0.32 * len(terms))
    left, right = fig.subplots(1, 2, sharey=True)
    left.barh(y, mean_E, color=colours)
    left.axvline(0, color=GREY, linewidth=0.8)
    left.set_yticks(y, [f"{t.name} ({t.weight:.4g})" for t in terms])
    right.barh(y, share_E, color=colours)
    for at, share in zip(y, share_E, strict=True):
        right.annotate(f"{share:.1%}", (share, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    right.set_xlim(0, max(share_E.max() * 1.18, 0.01))
    right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    tidy(left, title, "mean contribution to the score", "engagement (weight)")
    tidy(right, "", "share of all contributions, signs apart", "")
    return fig


def by_rank(scores: Scores, title: str) -> Figure:
    """Score against place, the best first: how steeply the top stands out, and where sums turn negative."""
    sorted_N = np.sort(scores.sum_N)[::-1]
    places = np.unique(np.geomspace(1, len(sorted_N), 2000).astype(np.int64))
    fig = new_figure()
    ax = fig.add_subplot()
    ax.plot(places, sorted_N[places - 1], color=BLUE, linewidth=1.8)
    ax.set_xscale("log")
    if width := linear_width(scores.sum_N):
        ax.set_yscale("asinh", linear_width=width)
        ax.set_yticks(ticks := ticks_of(width, sorted_N[-1], sorted_N[0]), [f"{t:g}" for t in ticks])
        ax.yaxis.minorticks_off()
    if sorted_N[-1] < 0:
        ax.axhline(0, color=GREY, linewidth=0.8)
        below = float((sorted_N < 0).mean())
        note = f", which the positive mapping squeezes below {scores.weights.epsilon:g}" if scores.weights.positive_mapping else ""
        ax.annotate(
            f"{below:.1%} of the candidates have a negative sum{note}", (0.02, 0.03), xycoords="axes fraction", fontsize=8, color=GREY
        )
    tidy(ax, title, "rank", "score (weighted sum)")
    return fig


def rankings(a: Scores, b: Scores, names: Sequence[str], title: str) -> Figure:
    """Place under one weight set against place under another; the diagonal is agreement."""
    rows = sample_rows(len(a))
    fig = new_figure(5.6, 5.2)
    ax = fig.add_subplot()
    ax.plot([1, len(a)], [1, len(a)], color=GREY, linewidth=0.8)
    ax.scatter(a.rank[rows], b.rank[rows], s=6, alpha=0.4, color=BLUE, linewidths=0, rasterized=True)
    tidy(
        ax,
        title,
        f"rank under {names[0]}" + (f"\n{len(rows):,} of {len(a):,} candidates" if len(rows) < len(a) else ""),
        f"rank under {names[1]}",
    )
    ax.invert_xaxis()
    ax.invert_yaxis()
    return fig
