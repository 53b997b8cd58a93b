"""A comparison in pictures: metrics by step, and against what was varied. The best settings have colours, the rest are grey."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recap_exp.comparison.compare import Comparison, direction
from recap_exp.comparison.read import Value
from recap_exp.comparison.settings import Setting, short, show
from recap_exp.comparison.style import COLOURS, GREY, MAP, Axis, colour, ink, new_figure, tidy

MOST_PANELS = 9
CELLS = 144
"""A larger table of two settings has no numbers in it."""


def ranked(c: Comparison) -> Iterator[tuple[int, Setting, str]]:
    """Place, setting and colour of settings with runs, the best last, so that it is drawn on top."""
    for place in reversed(range(len(c.settings))):
        if c.settings[place].runs:
            yield place, c.settings[place], colour(place)


def legend(ax: Axes, c: Comparison) -> None:
    """Number and name of the coloured settings beneath the picture."""
    told = {int(gid): h for h in ax.get_lines() if (gid := h.get_gid())}
    shown = [place for place in sorted(told) if place < len(COLOURS)]
    names = [f"{place + 1}  {short(c.settings[place].label, 34)}" for place in shown]
    handles = [told[place] for place in shown]
    if grey := [h for place, h in told.items() if place >= len(COLOURS)]:
        handles.append(grey[0])
        names.append(f"the other {len(grey)}")
    if len(names) > 1:
        ax.figure.legend(handles, names, loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)


def curves(c: Comparison, metric: str) -> Figure | None:
    """The metric by training step: the mean over a setting's seeds, the band from the lowest to the highest. A dot is the checkpoint that
    the results are of, where one was restored. None where no run told the metric by step."""
    figure = new_figure(7, 4.3)
    ax = figure.add_subplot()
    values: list[float] = []
    for place, setting, hue in ranked(c):
        by_step: dict[int, list[float]] = {}
        for run in setting.runs:
            for step, value in run.curves.get(metric, ()):
                by_step.setdefault(step, []).append(value)
        if len(by_step) < 2:
            continue
        steps = sorted(by_step)
        mean, low, high = (np.array([f(by_step[s]) for s in steps]) for f in (np.mean, np.min, np.max))
        bold = place < len(COLOURS)
        ax.plot(steps, mean, color=hue, linewidth=1.8 if bold else 0.9, alpha=1 if bold else 0.7, gid=str(place))
        if bold and (high > low).any():
            ax.fill_between(steps, low, high, color=hue, alpha=0.15, linewidth=0)
        ends = [(run.metrics["train/best_step"], run.metrics[metric]) for run in setting.runs if "train/best_step" in run.metrics]
        if bold and not metric.startswith("train/"):
            ax.plot(*zip(*ends, strict=True), "o", color=hue, markersize=4.5, markeredgecolor="white") if ends else None
        values += [v for v in (*low, *high) if math.isfinite(v)]
    if not values:
        return None
    low, mid_low, mid_high, high = np.quantile(values, [0, 0.05, 0.9, 1])
    if high - low > 2.5 * (mid_high - mid_low) > 0:  # the first steps dwarf what follows
        pad = 0.35 * (mid_high - mid_low)
        ax.set_ylim(max(low - 0.1 * pad, mid_low - pad), min(high + 0.1 * pad, mid_high + pad))
    tidy(ax, metric, "step", "")
    legend(ax, c)
    return figure


def by_parameters(c: Comparison, metric: str, keys: Sequence[str]) -> Figure:
    """The metric against each setting: a dot a run, a bar the mean of a value's runs. Of two settings the other one has the colours."""
    keys = list(keys)[:MOST_PANELS]
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(max(5.2, 3.6 * columns), 0.5 + 3.1 * rows)
    figure.suptitle(f"{metric} against what was varied", x=0.01, ha="left", fontsize=10.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for key, ax in zip(keys, axes, strict=False):
        _by_parameter(ax, c, metric, key, keys[1 - keys.index(key)] if len(keys) == 2 else None)
    for ax in axes[len(keys) :]:
        ax.set_visible(False)
    for ax in axes[::columns]:
        ax.set_ylabel(short(metric, 30))
    return figure


def _by_parameter(ax: Axes, c: Comparison, metric: str, key: str, other: str | None) -> None:
    axis = Axis([s.values[key] for s in c.settings if s.runs])
    hues = Axis([s.values[other] for s in c.settings if s.runs]) if other else None
    apart = hues.values if hues and len(hues.values) <= len(COLOURS) else [None]
    for i, value in enumerate(apart):
        group = [s for s in c.settings if s.runs and (len(apart) == 1 or s.values[str(other)] == value)]
        told: dict[Value, list[float]] = {}
        for s in group:
            told.setdefault(s.values[key], []).extend(s.by_seed(metric).values())
        # Side by side where the line has room for no more
        shift = 0.0 if axis.numeric else (i - (len(apart) - 1) / 2) * 0.5 / len(apart) / len(axis.values)
        points = [(axis.place(v) + shift, y) for v, ys in told.items() for y in ys]
        ax.plot(*zip(*points, strict=True), "o", color=COLOURS[i], markersize=4.5, alpha=0.55, markeredgewidth=0) if points else None
        again = len(points) >= 2 * len(told)  # a search repeats a value by chance alone
        means = sorted((axis.place(v) + shift, float(np.mean(ys))) for v, ys in told.items() if ys and (again or len(apart) > 1))
        if len(means) > 1 and (axis.numeric or len(apart) > 1):
            ax.plot(*zip(*means, strict=True), color=COLOURS[i], linewidth=1.4, label=f"{str(other).rsplit('.', 1)[-1]} {show(value)}")
        elif means:
            ax.plot(*zip(*means, strict=True), "_", color="#222222", markersize=22, markeredgewidth=1.6)
    tidy(ax, "", short(key, 40) + (" (logarithmic)" if axis.log else ""), "")
    places, names = zip(*axis.ticks(), strict=True)
    turned = sum(len(short(n, 18)) for n in names) > 28
    ax.set_xticks(places, [short(n, 18) for n in names], rotation=30 * turned, ha="right" if turned else "center")
    ax.set_xlim(-0.05, 1.05)
    if len(apart) > 1 and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8)


def heat_map(c: Comparison, metric: str, keys: Sequence[str]) -> Figure | None:
    """The mean over runs for each combination of two settings; None where most combinations were not run."""
    axes = [Axis([s.values[key] for s in c.settings if s.runs]) for key in keys]
    down, across = (axis.values for axis in axes)
    grid = np.full((len(down), len(across)), np.nan)
    for s in c.settings:
        if values := list(s.by_seed(metric).values()):
            grid[down.index(s.values[keys[0]]), across.index(s.values[keys[1]])] = np.mean(values)
    if np.isfinite(grid).mean() < 0.5:
        return None
    figure = new_figure(2.6 + 0.85 * len(across), 1.3 + 0.5 * len(down))
    ax = figure.add_subplot()
    image = ax.imshow(grid, cmap=MAP if direction(c.runs, metric) is not False else f"{MAP}_r", aspect="auto")
    if grid.size <= CELLS:
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                ax.annotate(f"{value:.4g}", (j, i), ha="center", va="center", fontsize=8.5, color=ink(image, value))
    tidy(ax, f"{metric}, mean over runs", short(keys[1], 40), short(keys[0], 40))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_xticks(range(len(across)), [short(show(v), 16) for v in across], rotation=30 * (len(across) > 6))
    ax.set_yticks(range(len(down)), [short(show(v), 24) for v in down])
    figure.colorbar(image, ax=ax).outline.set_visible(False)  # type: ignore[operator]
    return figure


def intervals(c: Comparison, metric: str) -> Figure:
    """Each setting's mean and 95 % interval over seeds, its seeds as dots; the line is the setting that the others are compared with."""
    shown = [i for i, s in enumerate(c.summaries[metric]) if s.n][:40]
    figure = new_figure(7, 1.0 + 0.3 * len(shown))
    ax = figure.add_subplot()
    for row, i in enumerate(shown):
        s, hue = c.summaries[metric][i], colour(i) if i < len(COLOURS) else GREY
        seeds = list(c.settings[i].by_seed(metric).values())
        ax.plot(seeds, [row] * len(seeds), "o", color=hue, alpha=0.4, markersize=4.5, markeredgewidth=0)
        if not math.isnan(s.low):
            ax.plot([s.low, s.high], [row, row], color=hue, linewidth=1.6)
        ax.plot(s.mean, row, "D", color=hue, markersize=5.5)
    if c.summaries[metric][c.reference].n:
        ax.axvline(c.summaries[metric][c.reference].mean, color=GREY, linewidth=0.8, linestyle=":")
    tidy(ax, f"{metric} with 95 % intervals over seeds" if c.seeds else metric, "", "")
    ax.set_yticks(range(len(shown)), [f"{short(c.settings[i].label, 44)}  {i + 1}" for i in shown])
    ax.grid(axis="x", color="#E6E8EB", linewidth=0.8)
    ax.grid(False, axis="y")
    ax.set_ylim(len(shown) - 0.4, -0.6)
    values = [v for i in shown for v in c.settings[i].by_seed(metric).values()]
    pad = 0.6 * (max(values) - min(values)) or abs(values[0]) * 0.01 or 1
    ax.set_xlim(max(ax.get_xlim()[0], min(values) - pad), min(ax.get_xlim()[1], max(values) + pad))  # two seeds' interval may reach far
    return figure
