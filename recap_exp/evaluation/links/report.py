"""The link evaluation as one table in the terminal."""

from __future__ import annotations

import math

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recap_exp.evaluation.links.evaluate import BASELINES, LinkEvaluation
from recap_exp.evaluation.links.measures import Columns, error, mean

MANY = 12
"""Relations shown, the most frequent; all are in the table of the record."""
BESIDE = ("degree", "random")
"""Baselines whose MRR stands in every row."""


def link_table(evaluation: LinkEvaluation) -> Table:
    """One row for all edges, each side, each relation, with standard errors; the baselines below in the same units, and
    the MRR of two beside."""
    size = f"{evaluation.edges:,} edges among {evaluation.candidates_ES.mean():,.0f} candidates"
    table = Table(title=f"{evaluation.partition}: {size}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("", overflow="fold", min_width=8)
    for heading in ("edges", *(_heading(name).replace(" ", "\n") for name in evaluation.measures)):
        table.add_column(heading, justify="right", no_wrap=True)
    for baseline in BESIDE:
        table.add_column(f"MRR of\n{baseline}", justify="right", no_wrap=True)
    everything = np.ones(evaluation.edges, bool)
    both = slice(None)
    _row(table, evaluation, "all", everything, both, style="bold")
    for s, side in enumerate(evaluation.sides):
        if len(evaluation.sides) > 1:
            _row(table, evaluation, f"{side} ends", everything, slice(s, s + 1))
    table.add_section()
    relations = list(evaluation.by_relation())
    if len(relations) > 1:
        for relation, of_E in relations[:MANY]:
            _row(table, evaluation, relation, of_E, both)
        table.add_section()
    for baseline in BASELINES:
        table.add_row(_words(baseline), "", *_cells(evaluation.columns[baseline], everything, both, errors=False), style="dim")
    table.caption = "\n" + "\n".join([*_caption(evaluation, len(relations)), *evaluation.notes])
    return table


def _row(table: Table, evaluation: LinkEvaluation, name: str, of_E: np.ndarray, sides: slice, style: str | None = None) -> None:
    beside = [f"{mean(evaluation.columns[b]['mrr'][of_E, sides]):.3f}" for b in BESIDE]
    cells = _cells(evaluation.columns["model"], of_E, sides)
    table.add_row(name, f"{int(of_E.sum()):,}", *cells, *beside, style=style)


def _cells(columns: Columns, of_E: np.ndarray, sides: slice, errors: bool = True) -> list[str]:
    found = []
    for name, value_ES in columns.items():
        chosen = value_ES[of_E, sides]
        form = "{:,.1f}" if name == "mean_rank" else "{:.3f}"
        spread = error(chosen) if errors and name == "mrr" else math.nan
        found.append(form.format(mean(chosen)) + ("" if math.isnan(spread) else f"±{spread:.3f}"))
    return found


def _caption(evaluation: LinkEvaluation, relations: int) -> list[str]:
    lines = []
    if relations > MANY:
        lines.append(f"the {MANY} most frequent of {relations} relations; all are in the record")
    if evaluation.intervals:
        low, high = evaluation.intervals["mrr"]
        lines.append(f"95 % interval of MRR: {low:.3f} to {high:.3f}")
    if evaluation.sampled:
        lines.append("sampled, as the original: " + ", ".join(f"{_heading(k)} {v:.3f}" for k, v in evaluation.sampled.items()))
    return lines


def _heading(measure: str) -> str:
    if measure == "mrr":
        return "MRR"
    return measure.removeprefix("sampled_").replace("auc", "AUC").replace("_at_", "@").replace("_", " ")


def _words(baseline: str) -> str:
    return baseline.replace("_", " ")
