"""A comparison as tables: for the terminal, for CSV files, for a tracker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from recap_exp.comparison.compare import Comparison
from recap_exp.comparison.read import ComparedRun
from recap_exp.comparison.settings import show
from recap_exp.comparison.statistics import Difference

if TYPE_CHECKING:
    from rich.table import Table

MOST_RUNS = 24
"""The terminal lists no more; the files have them all."""


def results_table(runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a table with one row a run: id, status, settings, seed, metrics; None where a run lacks one."""
    columns: dict[str, list[Any]] = {"run": [run.id for run in runs], "status": [run.status for run in runs]}
    columns |= {key: [run.settings.get(key) for run in runs] for key in dict.fromkeys([*keys, "seed"])}
    return columns | {metric: [run.metrics.get(metric) for run in runs] for metric in metrics}


def runs_table(c: Comparison) -> dict[str, list[Any]]:
    """One row a run in the order of the settings, those that count in none at the end; the compared metrics first, then all others."""
    rows = [*((number, run) for number, setting in enumerate(c.settings, 1) for run in setting.runs), *((None, run) for run in c.left_out)]
    metrics = dict.fromkeys([*c.metrics, *sorted({name for _, run in rows for name in run.metrics})])
    table = results_table([run for _, run in rows], c.keys, list(metrics))
    return {"setting": [number for number, _ in rows], **table}


def settings_table(c: Comparison) -> dict[str, list[Any]]:
    """One row a metric and setting, with everything that the statistics say."""
    rows = []
    for metric in c.metrics:
        for i, (setting, s, d) in enumerate(zip(c.settings, c.summaries[metric], c.differences[metric], strict=True)):
            row = {"setting": i + 1, **setting.values, "metric": metric, **vars(s)}
            told = vars(d) if d else dict.fromkeys(Difference.__dataclass_fields__, None) | {"verdict": reference_word(c)}
            rows.append(
                row
                | {("difference" if k == "mean" else k if k in ("verdict", "paired") else f"difference_{k}"): v for k, v in told.items()}
            )
    return {name: [row[name] for row in rows] for name in rows[0]}


def reference_word(c: Comparison) -> str:
    """What the verdict of the setting that the others are compared with is called."""
    return "baseline" if c.chosen else "best"


def terminal_table(c: Comparison, metric: str) -> Table:
    """One row a setting: what it is, mean ± deviation over seeds, the mean's interval, the difference to the best with its verdict."""
    from rich.table import Table

    table = Table(title=f"{metric}: mean ± deviation over seeds", title_justify="left", caption_justify="left")
    table.add_column("", justify="right", style="dim")
    for key in c.keys:
        table.add_column(key.replace(".", ".\n"), overflow="fold")
    for name in ("seeds", "mean", "95 % interval", f"minus the {reference_word(c)}", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("which is")
    for row in rows(c, metric):
        style = "bold" if row[-1] in ("best", "baseline") else "dim" if row[-1] == "" else ""
        table.add_row(*row, style=style)
    return table


def rows(c: Comparison, metric: str) -> Iterator[list[str]]:
    """The cells of `terminal_table` as text; the report shows the same."""
    digits = decimals(c, metric)
    for i, (setting, s, d) in enumerate(zip(c.settings, c.summaries[metric], c.differences[metric], strict=True)):
        cells = [str(i + 1), *(show(v) for v in setting.values.values()), str(s.n)]
        if not s.n:
            yield [*cells, "–", "", "", "", ""]
            continue
        spread = "" if math.isnan(s.std) else f" ± {s.std:.{digits}f}"
        cells += [f"{s.mean:.{digits}f}{spread}", interval(s.low, s.high, digits)]
        if d is None:
            yield [*cells, "", "", reference_word(c)]
        else:
            yield [*cells, "–" if math.isnan(d.mean) else f"{d.mean:+.{digits}f}", interval(d.low, d.high, digits, "+"), d.verdict]


def interval(low: float, high: float, digits: int, sign: str = "") -> str:
    """[low, high], or nothing where it is unknown."""
    return "" if math.isnan(low) else f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def decimals(c: Comparison, metric: str) -> int:
    """Digits behind the point: two of the usual deviation between seeds, or four significant ones of the means."""
    spreads = sorted(s.std for s in c.summaries[metric] if s.std > 0)
    sizes = [abs(s.mean) for s in c.summaries[metric] if s.n and s.mean]
    if spreads:
        size = spreads[len(spreads) // 2] / 10
    elif sizes:
        size = max(sizes) / 1000
    else:
        return 0
    return min(9, max(0, -math.floor(math.log10(size))))


def terminal_runs(c: Comparison) -> Table:
    """One row a run."""
    from rich.table import Table

    table = Table(title="runs", title_justify="left")
    table.add_column("", justify="right", style="dim")
    for name in ("run", "status", "seed"):
        table.add_column(name, no_wrap=name == "run")
    for metric in c.metrics:
        table.add_column(metric, justify="right")
    for number, run in [*((i, r) for i, s in enumerate(c.settings, 1) for r in s.runs), *((0, r) for r in c.left_out)]:
        values = [run.metrics.get(metric) for metric in c.metrics]
        said = [f"{v:.{decimals(c, m)}f}" if v is not None else "–" for m, v in zip(c.metrics, values, strict=True)]
        table.add_row(str(number or ""), run.id, run.status, str(run.seed), *said, style="" if number else "dim")
    return table
