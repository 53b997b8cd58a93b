"""The evaluation as one table in the terminal."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.table import Table

from recap_exp.evaluation.evaluate import Evaluation


def metrics_table(evaluation: Evaluation) -> Table:
    """One row a task, and the mean: positives, mean label and mean probability, AUROC ± its standard error and how many standard errors
    (of a score that knows nothing) it is from 0.5, RCE; where there are any, the calibrated columns and those against the truth."""
    title = f"{evaluation.partition}: {evaluation.examples:,} examples"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption = "\n".join(evaluation.notes) or None
    shown = {name for metrics in evaluation.tasks.values() for name in metrics}
    columns = [c for c in COLUMNS if c[1] in shown]
    table.add_column("task", overflow="fold", min_width=12)
    for heading, name, *_ in columns:
        table.add_column(heading, justify="right", no_wrap=name == "auroc")
    for task, metrics in evaluation.tasks.items():
        table.add_row(task, *(_cell(metrics, *c[1:]) for c in columns))
    if len(evaluation.tasks) > 1:
        table.add_section()
        table.add_row("mean", *(_cell(evaluation.means, *c[1:]) for c in columns), style="bold")
    return table


COLUMNS = (
    ("positives", "positives", "{:,.0f}", 1),
    ("CTR %", "ctr", "{:.3g}", 100),
    ("pCTR %", "pctr", "{:.3g}", 100),
    ("calibrated", "pctr_calibrated", "{:.3g}", 100),
    ("AUROC", "auroc", "{:.3f}", 1),
    ("z", "auroc_z", "{:.1f}", 1),
    ("RCE", "rce", "{:.2f}", 1),
    ("calibrated", "rce_calibrated", "{:.2f}", 1),
    ("truth's", "auroc_of_truth", "{:.3f}", 1),
    ("ratio", "auroc_ratio", "{:.3f}", 1),
)
"""Title, metric, format, factor."""


def _cell(metrics: dict[str, float], name: str, form: str, factor: float) -> str:
    value = metrics.get(name, math.nan) * factor
    if math.isnan(value):
        return "–" if name in metrics else ""
    se = metrics.get(f"{name}_se", math.nan)
    return form.format(value) if math.isnan(se) else f"{form.format(value)}±{form.format(se)}"
