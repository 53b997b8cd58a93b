"""The report of a comparison: what was compared, what came out, and pictures of it, in one file that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from recap_exp.comparison import figures, scores
from recap_exp.comparison.choose import Chosen
from recap_exp.comparison.compare import Comparison
from recap_exp.comparison.html import cell, document, escape, pictures, table
from recap_exp.comparison.importance import importance, importance_figure
from recap_exp.comparison.parallel_coordinates import parallel_coordinates
from recap_exp.comparison.settings import show
from recap_exp.comparison.style import colour
from recap_exp.comparison.tables import cells, numbered, run_cells
from recap_exp.comparison.words import answer

Drawn = tuple[Figure, str]


def page(c: Comparison, chosen: Chosen) -> str:
    """The whole report, as HTML."""
    return document(chosen.title, list(_parts(c, chosen)))


def _parts(c: Comparison, chosen: Chosen) -> Iterator[str]:
    yield f"<h1>{escape(chosen.title)}</h1>"
    recipes, finished = ", ".join(dict.fromkeys(run.name for run in c.runs)), sum(run.finished for run in c.runs)
    counts = f"{_plural(len(c.runs), 'run')}, {finished} of them finished, of {_plural(len(c.settings), 'setting')}"
    yield f'<p class="dim">{escape(recipes)}: {counts}</p>'
    yield from (f'<p class="said">{escape(said)}</p>' for said in answer(c))
    yield from (f'<p class="note">{escape(note)}</p>' for note in c.notes)
    for metric in c.metrics:
        yield f"<h2>{escape(metric)}</h2>"
        yield _settings(c, metric)
        if len(c.settings) > 1 and c.seeds:
            yield pictures(
                [(figures.intervals(c, metric), "Diamonds are means over seeds, dots the seeds, bars the means' 95 % intervals.")]
            )
    for title, drawn in (("What the settings do", _of_settings(c)), ("Along training", _curves(c)), ("Scores", _of_scores(c))):
        if shown := list(drawn):
            yield f"<h2>{title}</h2>"
            yield pictures(shown)
    yield "<h2>Runs</h2>"
    yield _runs(c)


def _settings(c: Comparison, metric: str) -> str:
    names, texts = cells(c, metric)
    numbers = [name for name in names if name not in ("", *c.keys, "which is")]
    rows = []
    for i, (setting, row) in enumerate(zip(c.settings, texts, strict=True)):
        kind = "reference" if i == c.reference else "one" if setting.runs else "out"
        full = {key: show(value) for key, value in setting.values.items()}
        told = zip(names, row, strict=True)
        rows.append((kind, [cell(t, number=n in numbers, dot=None if n else colour(i), full=full.get(n)) for n, t in told]))
    return table(names, numbers, rows)


def _runs(c: Comparison) -> str:
    common = set.intersection(*(set(run.overrides) for run in c.runs)) if len(c.runs) > 1 else set()
    rows = []
    for number, run in numbered(c):
        place, *told = run_cells(c, number, run)
        given = " ".join(o for o in run.overrides if o not in common)
        row = [cell(place, dot=colour(number - 1) if number else None), cell(told[0], code=True), *(cell(t) for t in told[1:3])]
        row += [*(cell(t, number=True) for t in told[3:]), cell(given, code=True)]
        rows.append(("one" if number else "out", row))
    return table(["", "run", "status", "seed", *c.metrics, "its own overrides"], c.metrics, rows)


def _of_settings(c: Comparison) -> Iterator[Drawn]:
    metric, runs = c.metrics[0], [run for setting in c.settings for run in setting.runs]
    keys = [key for key in c.keys if len({run.settings.get(key) for run in runs}) > 1]
    if keys:
        said = "A dot a run; lines and bars are means over the runs of a value" + (
            ", whatever the other settings were." if len(keys) > 2 else "."
        )
        yield figures.by_parameters(c, metric, keys), said
    if len(keys) == 2 and (drawn := figures.heat_map(c, metric, keys)):
        yield drawn, "The mean over the runs of each combination."
    if len(keys) > 1:
        yield parallel_coordinates(runs, keys, metric), "Each line is a run, from its settings to its result."
    if keys and (shares := importance(runs, keys, metric)):
        said = "The share of the variance over runs that a setting explains by itself, averaged over the others"
        yield (
            importance_figure(shares, metric),
            said + ("; of the seed: all that it explains, which is noise." if "seed" in shares else "."),
        )


def _curves(c: Comparison) -> Iterator[Drawn]:
    for metric in dict.fromkeys([*c.metrics, "train/loss"]):
        if drawn := figures.curves(c, metric):
            said = "Mean over seeds, the band from the lowest to the highest"
            yield drawn, said + ("." if metric.startswith("train/") else "; a dot is the checkpoint that the results are of.")


def _of_scores(c: Comparison) -> Iterator[Drawn]:
    for s in scores.scored(c):
        left = f" {_plural(s.others, 'run')} scored other candidates and are left out." if s.others else ""
        yield (
            scores.distributions(c, s),
            f"{len(next(iter(s.sums.values()))):,} candidates of {s.split}, the seeds of a setting together.{left}",
        )
        if len(s.sums) > 1:
            matrix, runs = scores.correlations(c, s)
            means = scores.agreement(matrix, runs)
            said = ", ".join(f"{mean:.3f} between {what}" for what, mean in means.items() if np.isfinite(mean))
            yield scores.correlation_figure(c, s, matrix, runs), f"How far two runs rank the candidates alike: on average {said}."


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
