"""Writes a data set: streamed, the same bytes for the same rows, and under its final name only when whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recap_exp.data.config import Format, Layout
from recap_exp.data.dataset import MANIFEST, VERSION, Dataset, split_digest
from recap_exp.data.fingerprint import hash_file, json_sha256
from recap_exp.data.once import maker, new_folder
from recap_exp.data.progress import RowProgress
from recap_exp.data.schema import Block, Columns, Rows, Schema
from recap_exp.data.sinks import SUFFIX, open_sink
from recap_exp.errors import DataError


def stored_schema(schema: Schema, format: Format, layout: Layout) -> Schema:
    """The schema under which the rows are stored.

    packed: one list column a block; named: one column a feature. Columns keep their names where their number allows it, and no id or
    extra has the name. Parquet stores only the features in use; records store all of them.
    """
    blocks = {}
    carried = {*schema.ids.values(), *schema.extras.values()}
    for name, block in schema.blocks.items():
        width = block.use if format == "parquet" else block.width
        columns: tuple[str, ...]
        if layout == "packed":
            columns = block.columns if len(block.columns) == 1 and carried.isdisjoint(block.columns) else (name,)
        elif len(block.columns) == block.width:
            columns = block.columns[:width]
        else:
            columns = tuple(f"{name}_{i:0{len(str(width - 1))}d}" for i in range(width))
        blocks[name] = Block(kind=block.kind, columns=columns, width=width, use=block.use)
    stored = replace(schema, blocks=blocks)
    _check_unique(stored)
    return stored


def _check_unique(schema: Schema) -> None:
    from recap_exp.data.parquet import stored_columns

    columns = stored_columns(schema)
    for column, count in Counter(columns).items():
        if count > 1:
            raise DataError(f"column {column} would be stored twice: give its block, id or extra another name")


def write_dataset(
    folder: Path,
    name: str,
    schema: Schema,
    splits: Mapping[str, Rows],
    format: Format,
    files: int = 1,
    layout: Layout = "packed",
    made: Mapping[str, Any] | None = None,
    progress: bool = True,
    expected: Mapping[str, int | None] | None = None,
) -> Dataset:
    """Writes every split as `files` files, row i into file i mod `files`, and manifest.json beside them.

    splits: blocks may be [N, use] or [N, width].
    made: how the data came about, for the manifest. expected: rows per split as far as they are known, for the progress bar.
    Raises AlreadyThere where `folder` exists. After any error nothing is left behind.
    """
    stored = stored_schema(schema, format, layout)
    manifest: dict[str, Any] = {
        "version": VERSION,
        "name": name,
        "format": format,
        "layout": layout,
        "made": dict(made or {}),
        "by": maker(),
        "schema": stored.to_json(),
        "splits": {},
    }
    with new_folder(folder) as draft:
        for split, rows in splits.items():
            with RowProgress(f"{name}/{split}", (expected or {}).get(split), progress) as bar:
                names = [f"{split}/part-{i:05d}{SUFFIX[format]}" for i in range(files)]
                manifest["splits"][split] = _write_split(draft, names, stored, rows(), bar)
        found = {split: split_digest([f["sha256"] for f in part["files"]], {}) for split, part in manifest["splits"].items()}
        manifest["digest"] = json_sha256(found)
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str) + "\n")
    return Dataset.open(folder)


def _write_split(folder: Path, names: list[str], schema: Schema, rows: Iterator[Columns], bar: RowProgress) -> dict[str, Any]:
    """One split into files of these names; what the manifest says of it."""
    (folder / names[0]).parent.mkdir()
    sinks = [open_sink(folder / name, schema) for name in names]
    counts = [0] * len(names)
    positives = dict.fromkeys(schema.labels, 0)
    known = dict.fromkeys(schema.labels, 0)
    done = 0
    try:
        for columns in rows:
            for i, sink in enumerate(sinks):
                part = columns if len(sinks) == 1 else columns.take(slice((i - done) % len(sinks), None, len(sinks)))
                if len(part):
                    sink.write(part)
                    counts[i] += len(part)
            for label, values in columns.labels.items():
                positives[label] += int((values > 0).sum())
                known[label] += int((~np.isnan(values)).sum())
            done += len(columns)
            bar.advance(len(columns))
    except BaseException:
        for sink in sinks:
            with suppress(Exception):  # the first error is the one to tell
                sink.close()
        raise
    for sink in sinks:
        sink.close()
    if not all(counts):
        raise DataError(
            f"split {Path(names[0]).parent}: {done} rows don't fill {len(names)} files"
            if done
            else f"split {Path(names[0]).parent} has no rows"
        )
    stored = [
        {"path": name, "rows": count, "bytes": (folder / name).stat().st_size, "sha256": hash_file(folder / name)}
        for name, count in zip(names, counts, strict=True)
    ]
    rates = {label: positives[label] / known[label] for label in schema.labels if known[label]}
    return {"rows": done, "files": stored, "label_rates": rates}
