"""A comparison as tables: for the terminal, for CSV files, for a tracker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from recap_exp.comparison.compare import Comparison
from recap_exp.comparison.read import ComparedRun
from recap_exp.comparison.statistics import Difference
from recap_exp.terminal import console

MOST = 24
"""Rows of a table in the terminal; the files have them all."""


def results_table(runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a table with one row a run: id, status, settings, seed, metrics; None where a run lacks one."""
    columns: dict[str, list[Any]] = {"run": [run.id for run in runs], "status": [run.status for run in runs]}
    columns |= {key: [run.settings.get(key) for run in runs] for key in dict.fromkeys([*keys, "seed"])}
    return columns | {metric: [run.metrics.get(metric) for run in runs] for metric in metrics}


def runs_table(c: Comparison) -> dict[str, list[Any]]:
    """One row a run in the order of the settings, those that count in none at the end; the compared metrics first, then all others."""
    rows = numbered(c)
    metrics = dict.fromkeys([*c.metrics, *sorted({name for _, run in rows for name in run.metrics})])
    table = results_table([run for _, run in rows], c.keys, list(metrics))
    return {"setting": [number for number, _ in rows], **table}


def numbered(c: Comparison) -> list[tuple[int | None, ComparedRun]]:
    """The runs with the number of the setting that they count in."""
    counted = [(number, run) for number, setting in enumerate(c.settings, 1) for run in setting.runs]
    return [*counted, *((None, run) for run in c.left_out)]


def settings_table(c: Comparison) -> dict[str, list[Any]]:
    """One row a metric and setting, with everything that the statistics say."""
    rows = []
    for metric in c.metrics:
        for i, (setting, s, d) in enumerate(zip(c.settings, c.summaries[metric], c.differences[metric], strict=True)):
            told = vars(d) if d else dict.fromkeys(Difference.__dataclass_fields__) | {"verdict": c.reference_word}
            named = {("difference" if k == "mean" else k if k in ("verdict", "paired") else f"difference_{k}"): v for k, v in told.items()}
            rows.append({"setting": i + 1, **setting.values, "metric": metric, **vars(s), **named})
    return {name: [row[name] for row in rows] for name in rows[0]}


def terminal_table(c: Comparison, metric: str) -> Table:
    """One row a setting: what it is, mean ± deviation over seeds, the mean's interval, the difference to the best with its verdict;
    on a narrow terminal without the intervals."""
    screen = console()
    for left_out in ((), ("interval of that",), ("interval of that", "95 % interval")):
        table = _settings_table(c, metric, left_out)
        if Measurement.get(screen, screen.options.update(width=1000), table).maximum <= screen.width:
            return table
    table.box, table.pad_edge, table.collapse_padding = SIMPLE_HEAD, False, True
    return table


def _settings_table(c: Comparison, metric: str, left_out: Sequence[str]) -> Table:
    names, rows = cells(c, metric)
    shown = [k for k, name in enumerate(names) if name not in left_out]
    table = Table()
    for name in (names[k] for k in shown):
        key = name in c.keys
        header = name.replace(".", ".\n") if key else name.replace(" the ", "\nthe ")
        table.add_column(header, justify="left" if key or name == "which is" else "right", no_wrap=not key, overflow="fold")
    for i, row in enumerate(rows):
        if i < MOST or i == c.reference:
            style = "bold" if i == c.reference else "dim" if not c.settings[i].runs else ""
            table.add_row(*(escape(row[k]) for k in shown), style=style)
    return table


def heading(c: Comparison, metric: str) -> str:
    """What the numbers of a metric's table are."""
    return f"{metric}: mean ± deviation over seeds" if c.seeds else f"{metric}, one seed a setting"


def cells(c: Comparison, metric: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and one row of text a setting; without what nothing can be said of: intervals of single seeds, differences
    of a single setting."""
    digits = decimals(c, metric)
    names = ["", *c.keys, "seeds", "mean", "95 % interval", f"minus the {c.reference_word}", "interval of that", "which is"]
    rows = []
    for i, (setting, s, d) in enumerate(zip(c.settings, c.summaries[metric], c.differences[metric], strict=True)):
        row = [str(i + 1), *setting.shown.values(), str(s.n)]
        spread = "" if math.isnan(s.std) else f" ± {s.std:.{digits}f}"
        row += [f"{s.mean:.{digits}f}{spread}" if s.n else "–", interval(s.low, s.high, digits)]
        if d is None:
            row += ["", "", c.reference_word]
        else:
            row += ["" if math.isnan(d.mean) else f"{d.mean:+.{digits}f}", interval(d.low, d.high, digits, "+"), d.verdict if s.n else ""]
        rows.append(row)
    unsaid = {"95 % interval", "interval of that", "which is", "seeds"} if not c.seeds else set()
    unsaid |= {names[-3], names[-2], names[-1]} if len(c.settings) == 1 else set()
    kept = [k for k, name in enumerate(names) if name not in unsaid]
    return [names[k] for k in kept], [[row[k] for k in kept] for row in rows]


def interval(low: float, high: float, digits: int, sign: str = "") -> str:
    """[low, high], or nothing where it is unknown."""
    return "" if math.isnan(low) else f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def decimals(c: Comparison, metric: str) -> int:
    """Digits behind the point: two of the usual deviation between seeds, or four significant ones of the means."""
    spreads = sorted(s.std for s in c.summaries[metric] if s.std > 0)
    sizes = [abs(s.mean) for s in c.summaries[metric] if s.n and s.mean]
    if not spreads and not sizes:
        return 0
    size = spreads[len(spreads) // 2] / 10 if spreads else max(sizes) / 1000
    return min(9, max(0, -math.floor(math.log10(size))))


def terminal_runs(c: Comparison) -> Table:
    """One row a run."""
    table = Table()
    for name in ("", "run", "status", "seed", *c.metrics):
        table.add_column(name, justify="left" if name in ("run", "status") else "right", no_wrap=name == "run")
    for number, run in numbered(c):
        table.add_row(*map(escape, run_cells(c, number, run)), style="" if number else "dim")
    return table


def run_cells(c: Comparison, number: int | None, run: ComparedRun) -> list[str]:
    """Number of its setting, id, status, seed, metrics."""
    values = [(run.metrics.get(metric), decimals(c, metric)) for metric in c.metrics]
    said = ["–" if value is None else f"{value:.{digits}f}" for value, digits in values]
    return [str(number or ""), run.id, run.status, str(run.seed), *said]
