"""Figures as a table for the terminal, and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import Figure, Spread


def table(figures: Sequence[Figure], machine: dict[str, Any]) -> Table:
    """One row a figure."""
    title = f"{machine['cpu']}, {machine['cores']} cores, torch {machine['versions']['torch']} with {machine['torch_threads']} threads"
    made = Table(title=title, caption="medians, and in brackets min to max", show_lines=True)
    made.add_column("figure", no_wrap=True)
    made.add_column("what against what")
    made.add_column("cost")
    for column in ("value", "target"):
        made.add_column(column, no_wrap=True, justify="right")
    for f in figures:
        sign = "×" if f.unit == "x" else " s"
        costs = "".join(f"\n{name} {_spread(cost)}" for name, cost in f.sides.items())
        details = "".join(f"\n{name} {value:.3g}" for name, value in f.details.items())
        target = f"{'≥' if f.at_least else '≤'} {f.target:g}{sign}\n" + ("[green]reached[/]" if f.reached else "[red]missed[/]")
        value = f"{f.value.median:.3g}{sign}\n({f.value.min:.3g} to {f.value.max:.3g})"
        made.add_row(f.name, f"{f.ours}\n[dim]against[/] {f.theirs}", f"{f.costs}{costs}[dim]{details}[/]", value, target)
    return made


def _spread(spread: Spread) -> str:
    return f"{spread.median:.4g} ({spread.min:.4g} to {spread.max:.4g})"


def write(figures: Sequence[Figure], machine: dict[str, Any], folder: Path, quick: bool) -> Path:
    """All figures and the machine as `folder`/TIME.json; returns its path."""
    now = datetime.now()
    found = {
        "time": now.isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine,
        "figures": [{**asdict(f), "reached": f.reached} for f in figures],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path
