"""`recap-exp compare`: the terminal's tables, two CSV files and a report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recap_exp.comparison.choose import choose
from recap_exp.comparison.compare import Comparison, compare
from recap_exp.comparison.read import read_runs
from recap_exp.comparison.tables import MOST, heading, runs_table, settings_table, terminal_runs, terminal_table
from recap_exp.paths import comparisons_dir
from recap_exp.terminal import console
from recap_exp.whole import whole


def compare_and_report(
    ids: Sequence[str] = (),
    sweep: str | None = None,
    experiment: str | None = None,
    metrics: Sequence[str] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compares the runs that are meant (see `choose`), prints and writes what came out."""
    chosen = choose(ids, sweep, experiment)
    c = compare(read_runs(chosen.folders), metrics, baseline=baseline)
    folder = comparisons_dir() / chosen.name
    write_csv(runs_table(c), folder / "runs.csv")
    write_csv(settings_table(c), folder / "settings.csv")
    from recap_exp.comparison.page import page  # draws, which a reader of tables alone need not wait for

    with whole(folder / "report.html") as draft:
        draft.write_text(page(c, chosen), encoding="utf-8")
    out = console()
    for metric in c.metrics:
        out.print(heading(c, metric), style="bold", highlight=False)
        out.print(terminal_table(c, metric))
    if (hidden := len(c.settings) - MOST) > 0:
        out.print(f"and {hidden} settings more")
    if len(c.runs) <= MOST and c.seeds:
        out.print(terminal_runs(c))
    for note in c.notes:
        out.print(f"! {note}", style="yellow", highlight=False, soft_wrap=True)
    out.print(f"{chosen.title}: {folder}", soft_wrap=True, highlight=False)
    return c


def write_csv(columns: dict[str, list[Any]], path: Path) -> None:
    """A table, column by column; the file appears only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as draft, open(draft, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
