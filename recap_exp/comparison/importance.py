"""Which of the varied settings a metric depends on, and how much of it is the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recap_exp.comparison.read import ComparedRun, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TREES = 100


def importance(runs: Sequence[ComparedRun], keys: Sequence[str], metric: str) -> dict[str, float]:
    """The share of the metric's variance over the finished runs that each key explains by itself, the largest first; {} below 3 runs.

    As functional ANOVA does (Hutter, Hoos, Leyton-Brown 2014): for each value of a key the metric is averaged over what the other keys
    were in the runs, and the share is the variance of these averages. Where a combination was not run, a forest of extremely randomised
    trees says what it would have given. They are grown until a leaf is one setting, so that for a full grid the forest is exact, and the
    shares are the η² of an analysis of variance; for a random or Bayesian search, which repeats no value, it fills the gaps.
    `seed` is not averaged but what is left within settings: the share of noise, there where a setting was run with two seeds or more.
    What is missing to 1 are interactions of keys. With few runs of many keys take it as a hint.
    """
    told = [(run, run.metrics.get(metric, np.nan)) for run in runs if run.finished]
    told = [(run, value) for run, value in told if np.isfinite(value)]
    keys = [k for k in dict.fromkeys(keys) if k != "seed" and len({run.settings.get(k) for run, _ in told}) > 1]
    y_N = np.array([value for _, value in told])
    if len(told) < 3 or not y_N.var() > 0:
        return {}
    columns = {key: _encode([run.settings.get(key) for run, _ in told]) for key in keys}
    shares = dict(zip(keys, _first_order(columns, y_N), strict=True))
    settings = np.unique([[str(run.settings.get(key)) for key in keys] for run, _ in told], axis=0, return_inverse=True)[1].ravel()
    sizes = np.bincount(settings)
    if sizes.max() > 1:
        means = np.bincount(settings, y_N) / sizes
        shares["seed"] = float(((y_N - means[settings]) ** 2).mean() / y_N.var())
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _encode(values: Sequence[Value]) -> np.ndarray:
    """[runs, features]: places in order for numbers, whatever their scale; a column a value for anything else."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return np.unique(np.array(values, dtype=np.float64), return_inverse=True)[1].reshape(-1, 1).astype(np.float64)
    codes = np.unique([repr(v) for v in values], return_inverse=True)[1]
    return np.eye(codes.max() + 1)[codes]


def _first_order(columns: Mapping[str, np.ndarray], y_N: np.ndarray) -> list[float]:
    if not columns:
        return []
    from sklearn.ensemble import ExtraTreesRegressor

    x_NF = np.concatenate(list(columns.values()), axis=1)
    forest = ExtraTreesRegressor(TREES, max_features=1.0, random_state=0).fit(x_NF, y_N)
    shares, at = [], 0
    for x_Nf in columns.values():
        values, counts = np.unique(x_Nf, axis=0, return_counts=True)
        there = slice(at, at := at + x_Nf.shape[1])
        asked = np.repeat(x_NF[None], len(values), axis=0)
        asked[:, :, there] = values[:, None]
        means = forest.predict(asked.reshape(-1, x_NF.shape[1])).reshape(len(values), -1).mean(axis=1)
        shares.append(float(np.average((means - np.average(means, weights=counts)) ** 2, weights=counts) / y_N.var()))
    return shares


def importance_figure(shares: Mapping[str, float], metric: str) -> Figure:
    """A bar a key; the seed's, which is noise, in grey."""
    from recap_exp.comparison.settings import short
    from recap_exp.comparison.style import COLOURS, FAINT, new_figure, tidy

    names = list(shares)[::-1]
    figure = new_figure(7, 1.1 + 0.34 * max(1, len(names)))
    ax = figure.add_subplot()
    bars = ax.barh([short(n) for n in names], [shares[n] for n in names], color=[FAINT if n == "seed" else COLOURS[0] for n in names])
    ax.bar_label(bars, [f"{shares[n]:.0%}" for n in names], padding=4, fontsize=8.5)
    tidy(ax, f"What {metric} depends on", "share of its variance over runs; the rest are interactions", "")
    ax.set_xlim(0, max(1.0, *shares.values()) * 1.08)
    ax.grid(False)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    return figure
