"""`recap-exp data info PATH`: what a data set or a file holds."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Column, Table

from recap_exp import paths, terminal
from recap_exp.data.dataset import MANIFEST, Dataset
from recap_exp.data.graph.graph import Graph, is_graph
from recap_exp.data.graph.info import print_graph
from recap_exp.data.parquet import is_list, is_number
from recap_exp.data.peek import Peek, peek
from recap_exp.errors import DataError

MAX_COLUMNS = 60
FIRST_ROWS = 3


def info(path: str, console: Console | None = None) -> None:
    """Prints schema, sizes, first rows, distinct values and label rates of a data set's folder, a file, or the first file of a glob; of a
    graph's folder its types, splits, and what its rules found.

    Time and memory are bounded: of a large file a sample is looked at, and the title says so.
    """
    console = console or terminal.console()
    found = _find(path)
    if is_graph(found[0]):
        print_graph(console, Graph.open(found[0]))
        return
    if (found[0] / MANIFEST).is_file():
        dataset = Dataset.open(found[0])
        _print_dataset(console, dataset)
        found = [next(iter(dataset.splits.values())).files[0]]
    elif found[0].is_dir():
        raise DataError(f"{found[0]}: has no {MANIFEST}; name a file or a glob")
    elif len(found) > 1:
        console.print(f"{len(found)} files, {decimal(sum(f.stat().st_size for f in found))}; the first:")
    looked = peek(found[0])
    size = decimal(found[0].stat().st_size)
    rows = "more rows than were read" if looked.rows is None else f"{looked.rows:,} rows"
    console.print(f"[bold]{escape(str(found[0]))}[/bold]: {looked.format}, {rows}, {size}, {looked.facts}", soft_wrap=True)
    _print_columns(console, looked)
    _print_first_rows(console, looked.sample)


def _find(path: str) -> list[Path]:
    """The path or glob, from the working folder or else from RECAP_DATA."""
    for candidate in (Path(path).expanduser(), paths.data_path(path)):
        if candidate.exists():
            return [candidate]
        if matches := [Path(m) for m in sorted(glob.glob(str(candidate), recursive=True)) if Path(m).is_file()]:
            return matches
    raise DataError(f"nothing is at {path}, neither from the working folder nor from {paths.data_path('.')} (RECAP_DATA)")


def _print_dataset(console: Console, dataset: Dataset) -> None:
    manifest = dataset.manifest
    console.print(f"[bold]{escape(dataset.name)}[/bold]: {dataset.format}, {manifest['layout']} columns, digest {manifest['digest'][:12]}")
    blocks = Table("block", "kind", "features", "in use", "stored columns", title="Blocks", title_justify="left")
    for name, block in dataset.schema.blocks.items():
        columns = block.columns[0] if len(block.columns) == 1 else f"{block.columns[0]} … {block.columns[-1]} ({len(block.columns)})"
        blocks.add_row(escape(name), block.kind, f"{block.width:,}", f"{block.use:,}", escape(columns))
    console.print(blocks)
    for title, carried in (("ids", dataset.schema.ids), ("extras", dataset.schema.extras)):
        if carried:
            console.print(f"{title}: {', '.join(n if n == c else f'{n} ({c})' for n, c in carried.items())}", markup=False)
    splits = Table("split", "rows", "files", "size", title="Splits", title_justify="left")
    rates = Table(_whole("label"), *dataset.splits, title="Share of positives", title_justify="left")
    for name in dataset.splits:
        split = manifest["splits"][name]
        splits.add_row(escape(name), f"{split['rows']:,}", str(len(split["files"])), decimal(sum(f["bytes"] for f in split["files"])))
    for label in dataset.schema.labels:
        shares = [dataset.label_rates(split).get(label) for split in dataset.splits]
        rates.add_row(escape(label), *("all unknown" if s is None else f"{s:.5f}" for s in shares))
    console.print(splits)
    if dataset.schema.labels:
        console.print(rates)


def _print_columns(console: Console, looked: Peek) -> None:
    sample = looked.sample
    title = "Columns" if looked.complete else f"Columns, by a sample of {len(sample):,} rows: distinct values are at least that many"
    table = Table(_whole("column"), "type", "nulls", "distinct", "values", "share of 1", title=title, title_justify="left")
    for field in list(sample.schema)[:MAX_COLUMNS]:
        table.add_row(escape(field.name), escape(_type(field.type)), *(escape(cell) for cell in _describe(sample.column(field.name))))
    console.print(table)
    if sample.num_columns > MAX_COLUMNS:
        console.print(f"… and {sample.num_columns - MAX_COLUMNS:,} more columns")


def _whole(title: str) -> Column:
    """A column whose names are never cut short."""
    return Column(title, overflow="fold", min_width=24)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} × {kind.value_type}"
    return f"list of {kind.value_type}" if is_list(kind) else str(kind)


def _describe(column: pa.ChunkedArray) -> tuple[str, str, str, str]:
    """Nulls, distinct values, values in words, and the share of ones where all values are 0 or 1."""
    nulls = str(column.null_count)
    if is_list(column.type):
        sizes = pc.min_max(pc.list_value_length(column)).as_py()
        long = f"{sizes['min']}" if sizes["min"] == sizes["max"] else f"{sizes['min']} … {sizes['max']}"
        return nulls, "", f"{long} long, {_range(pc.list_flatten(column))}", ""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        counts = sorted(pc.value_counts(column.drop_null()).to_pylist(), key=lambda c: -c["counts"])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return nulls, "", "", ""
    share = ""
    if is_number(column.type) and counts and {float(c["values"]) for c in counts} <= {0.0, 1.0}:
        share = f"{sum(c['counts'] for c in counts if c['values']) / sum(c['counts'] for c in counts):.5f}"
    few = ", ".join(f"{_cell(c['values'])} ({c['counts']:,})" for c in counts[:3])
    if is_number(column.type) and len(counts) > 12:
        few = _range(column)
    return nulls, f"{len(counts):,}", few, share


def _range(values: pa.ChunkedArray | pa.Array) -> str:
    if not is_number(values.type):
        return ""
    ends = pc.min_max(values).as_py()
    return "" if ends["min"] is None else f"{_cell(ends['min'])} … {_cell(ends['max'])}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{', '.join(_cell(v) for v in value[:2])}{', …' if len(value) > 2 else ''}]"
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _print_first_rows(console: Console, sample: pa.Table) -> None:
    rows = sample.slice(0, FIRST_ROWS)
    table = Table(_whole("column"), *(f"row {i}" for i in range(len(rows))), title="First rows", title_justify="left")
    for name in sample.column_names[:MAX_COLUMNS]:
        table.add_row(escape(name), *(escape(_cell(value)) for value in rows.column(name).to_pylist()))
    console.print(table)
