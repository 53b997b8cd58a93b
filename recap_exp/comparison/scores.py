"""How runs scored the same candidates: the distributions over one another, and how far their rankings agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from recap_exp.comparison.compare import Comparison
from recap_exp.comparison.figures import legend, ranked
from recap_exp.comparison.read import CANDIDATES, ComparedRun
from recap_exp.comparison.settings import short
from recap_exp.comparison.style import COLOURS, MAP, ink, new_figure, tidy
from recap_exp.scoring.asinh import linear_width, ticks

MOST_RUNS = 48
"""A matrix of more has one run a setting, and of these the best."""
SAMPLE = 5000
"""Candidates that a density curve reads at most, drawn with a fixed seed."""
NUMBERS = 14
"""A larger matrix has no numbers in it."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The candidates of one stage (`score`, or `score_PARTITION`), as most runs scored them."""

    stage: str
    split: str
    sums: dict[str, np.ndarray]
    """Run id -> weighted sum of each candidate, in the order of the data."""
    others: int
    """Runs that scored other candidates under that name: other data, or other rows of it."""


def scored(c: Comparison) -> list[Scored]:
    """Each stage that two runs or more, or the only one, have."""
    import pyarrow.parquet as pq

    runs = [run for setting in c.settings for run in setting.runs]
    found = []
    for stage in dict.fromkeys(stage for run in runs for stage in run.scored):
        kinds = {run.id: _candidates(run, stage) for run in runs if stage in run.scored}
        most = Counter(kinds.values()).most_common(1)[0][0]
        same = [run for run in runs if kinds.get(run.id) == most]
        sums = {run.id: pq.read_table(run.folder / stage / CANDIDATES, columns=["sum"])["sum"].to_numpy() for run in same}
        found.append(Scored(stage=stage, split=most[0], sums=sums, others=len(kinds) - len(same)))
    return [s for s in found if len(s.sums) > 1 or len(runs) == 1]


def _candidates(run: ComparedRun, stage: str) -> tuple[str, str | None, int]:
    """What was scored: split, digest of its data, rows."""
    import pyarrow.parquet as pq

    split = run.scored[stage]
    return split, run.digests.get(split), pq.read_metadata(run.folder / stage / CANDIDATES).num_rows


def distributions(c: Comparison, s: Scored) -> Figure:
    """Density of the candidates' weighted sums, a line a setting, its seeds together; on an asinh axis where tails dwarf the bulk."""
    from scipy.stats import gaussian_kde

    parts = {place: [s.sums[run.id] for run in setting.runs if run.id in s.sums] for place, setting, _ in ranked(c)}
    shown = np.concatenate([x for part in parts.values() for x in part])
    width = linear_width(shown)
    along = (lambda x: np.arcsinh(x / width)) if width else (lambda x: x)
    low, high = np.quantile(along(shown), [0.001, 0.999])
    pad = 0.02 * (high - low) or 0.5
    grid = np.linspace(low - pad, high + pad, 200)
    figure = new_figure(7, 4.3)
    ax = figure.add_subplot()
    for place, _, hue in ranked(c):
        z = along(np.concatenate(parts[place])) if parts[place] else np.zeros(0)
        if np.ptp(z) > 0 if len(z) > 1 else False:  # a ranker that says the same of all has no density
            z = z if len(z) <= SAMPLE else np.random.default_rng(0).choice(z, SAMPLE, replace=False)
            heights, wide = gaussian_kde(z)(grid), 1.6 if place < len(COLOURS) else 0.8
            ax.plot(np.sinh(grid) * width if width else grid, heights, color=hue, linewidth=wide, gid=str(place))
    if width:
        ax.set_xscale("asinh", linear_width=width)
        ax.set_xticks(places := ticks(width, *(np.sinh([low, high]) * width)), [f"{t:g}" for t in places])
    tidy(ax, f"Scores of {s.split}", "score (weighted sum)" + (", asinh axis" if width else ""), "density along the axis")
    ax.set_ylim(0)
    ax.set_yticks([])
    legend(ax, c)
    return figure


def correlations(c: Comparison, s: Scored) -> tuple[np.ndarray, list[tuple[int, ComparedRun]]]:
    """[runs, runs]: Spearman's correlation of the candidates' scores; and the runs with their settings' places."""
    from scipy.stats import rankdata

    runs = [(place, run) for place, setting in enumerate(c.settings) for run in setting.runs if run.id in s.sums]
    if len(runs) > MOST_RUNS:
        runs = list({place: (place, run) for place, run in reversed(runs)}.values())[::-1][:MOST_RUNS]
    ranks = np.stack([rankdata(s.sums[run.id]) for _, run in runs])
    with np.errstate(invalid="ignore"):  # a run that gives every candidate the same score
        return np.corrcoef(ranks), runs


def agreement(matrix: np.ndarray, runs: list[tuple[int, ComparedRun]]) -> Mapping[str, float]:
    """Mean correlation of two runs of one setting, and of two settings; NaN where there are none."""
    places = np.array([place for place, _ in runs])
    same = places[:, None] == places[None]
    off = ~np.eye(len(places), dtype=bool)
    return {
        name: float(np.nanmean(matrix[m])) if m.any() else float("nan")
        for name, m in (("seeds of one setting", same & off), ("settings", ~same))
    }


def correlation_figure(c: Comparison, s: Scored, matrix: np.ndarray, runs: list[tuple[int, ComparedRun]]) -> Figure:
    """The matrix as squares, runs in the order of their settings."""
    size = len(runs)
    shown = np.where(np.eye(size, dtype=bool), np.nan, matrix)
    figure = new_figure(min(8.4, 3.6 + 0.42 * size), min(7.4, 1.6 + 0.4 * size))
    ax = figure.add_subplot()
    image = ax.imshow(shown, cmap=MAP)
    for (i, j), value in np.ndenumerate(shown):
        if size <= NUMBERS and np.isfinite(value):
            ax.annotate(f"{value:.2f}", (j, i), ha="center", va="center", fontsize=8, color=ink(image, value))
    names = [f"{place + 1} seed {run.seed}" for place, run in runs]
    tidy(ax, f"Spearman's correlation of the scores of {s.split}", "", "")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    font = 8.5 if size <= 24 else 6
    ax.set_xticks(range(size), [name.split()[0] for name in names], fontsize=font)
    ax.set_yticks(
        range(size),
        [
            f"{short(c.settings[place].label, 26)}  {name}" if size <= NUMBERS else name
            for (place, _), name in zip(runs, names, strict=True)
        ],
        fontsize=font,
    )
    figure.colorbar(image, ax=ax, shrink=0.8).outline.set_visible(False)  # type: ignore[operator]
    return figure
