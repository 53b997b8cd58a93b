"""Every run as a line through its settings to its result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from recap_exp.comparison.compare import direction
from recap_exp.comparison.read import ComparedRun
from recap_exp.comparison.settings import short
from recap_exp.comparison.style import MAP, Axis, new_figure, round_to

FEW = 8
"""So many different numbers stand side by side rather than on a line."""


def parallel_coordinates(runs: Sequence[ComparedRun], keys: Sequence[str], metric: str) -> Figure:
    """One axis a key and the metric at the right; a line a finished run, coloured by the metric, the best drawn last and thick.

    Runs that share a value pass it side by side, in the order of their results.
    """
    shown = [run for run in runs if run.finished and np.isfinite(run.metrics.get(metric, np.nan))]
    better = direction(runs, metric)
    shown.sort(key=lambda run: run.metrics[metric] * (-1 if better is False else 1))
    keys = [key for key in keys if key != "seed"]
    y_N = np.array([run.metrics[metric] for run in shown])
    axes = [Axis([run.settings.get(key) for run in shown], few=FEW) for key in keys]
    at_NK = np.zeros((len(shown), len(keys) + 1))
    at_NK[:, -1] = (y_N - y_N.min()) / (np.ptp(y_N) or 1) if len(shown) else 0
    for k, (key, axis) in enumerate(zip(keys, axes, strict=True)):
        places = np.array([axis.place(run.settings.get(key)) for run in shown])
        if not axis.numeric:
            for place in np.unique(places):
                same = np.flatnonzero(places == place)
                places[same] += np.linspace(-0.3, 0.3, len(same) + 2)[1:-1] / max(1, len(axis.values))
        at_NK[:, k] = places
    figure = new_figure(max(6.0, 2.2 + 1.55 * len(keys)), 4.4)
    ax = figure.add_subplot()
    x_K = np.arange(len(keys) + 1)
    widths = [1.1] * (len(shown) - 1) + [3.0]
    lines = LineCollection([np.column_stack([x_K, row]) for row in at_NK], linewidths=widths, cmap=MAP, alpha=0.75)
    lines.set_array(y_N)
    ax.add_collection(lines)
    for k, axis in enumerate(axes):
        ax.axvline(k, color="#444444", linewidth=0.8, zorder=3)
        for place, text in axis.ticks():
            ax.annotate(short(text, 18), (k, place), (4, 0), textcoords="offset points", fontsize=8, va="center", zorder=4, bbox=_LABEL)
    ax.axvline(len(keys), color="#444444", linewidth=0.8, zorder=3)
    for value in (y_N.min(), y_N.max()) if len(shown) else ():
        place = (value - y_N.min()) / (np.ptp(y_N) or 1)
        text = str(round_to(float(value), 4))
        ax.annotate(text, (len(keys), place), (4, 0), textcoords="offset points", fontsize=8, va="center", zorder=4)
    names = [*(key.replace(".", ".\n", 1) if len(key) > 14 else key for key in keys), metric]
    ax.set_xticks(x_K, [short(name, 30) for name in names], fontsize=8.5)
    ax.set(xlim=(-0.1, len(keys) + 0.25), ylim=(-0.04, 1.04), yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    more = "" if better is None else ", more is better" if better else ", less is better"
    ax.set_title(f"{len(shown)} runs: settings and {metric}{more}; the best is thick", loc="left", fontsize=10.5)
    return figure


_LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
