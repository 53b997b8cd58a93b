"""The evaluation as one table in the terminal."""

from __future__ import annotations

import math

from rich.table import Table

from recap_exp.evaluation.evaluate import Evaluation


def metrics_table(evaluation: Evaluation) -> Table:
    """One row a task, and the mean: positives, mean label and mean probability, AUROC ± its standard error and how many standard errors
    (of a score that knows nothing) it is from 0.5, RCE; where there are any, the calibrated columns and those against the truth."""
    table = Table(title=f"{evaluation.partition}: {evaluation.examples:,} examples", title_justify="left", caption_justify="left")
    table.caption = "\n".join(evaluation.notes) or None
    shown = {name for metrics in evaluation.tasks.values() for name in metrics}
    columns = [c for c in COLUMNS if c[1] in shown]
    table.add_column("task", overflow="fold")
    for title, *_ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for task, metrics in evaluation.tasks.items():
        table.add_row(task, *(_cell(name, spec, metrics) for _, name, spec in columns))
    if len(evaluation.tasks) > 1:
        table.add_section()
        table.add_row("mean", *(_cell(name, spec, evaluation.means) for _, name, spec in columns), style="bold")
    return table


COLUMNS = (
    ("positives", "positives", ",.0f"),
    ("CTR", "ctr", ".3%"),
    ("pCTR", "pctr", ".3%"),
    ("pCTR cal.", "pctr_calibrated", ".3%"),
    ("AUROC", "auroc", ".4f"),
    ("z", "auroc_z", ".1f"),
    ("RCE", "rce", ".2f"),
    ("RCE cal.", "rce_calibrated", ".2f"),
    ("truth's AUROC", "auroc_of_truth", ".4f"),
    ("ratio", "auroc_ratio", ".3f"),
)
"""Title, metric, format."""


def _cell(name: str, spec: str, metrics: dict[str, float]) -> str:
    value = metrics.get(name, math.nan)
    if math.isnan(value):
        return "–" if name in metrics else ""
    se = metrics.get(f"{name}_se", math.nan)
    return format(value, spec) if math.isnan(se) else f"{value:{spec}} ± {se:{spec}}"
