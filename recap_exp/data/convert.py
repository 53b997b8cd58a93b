"""A data set in another format or layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from recap_exp.data.config import Format, Layout
from recap_exp.data.dataset import Dataset
from recap_exp.data.fingerprint import cached_hash
from recap_exp.data.schema import Rows
from recap_exp.data.write import write_dataset


def convert(
    dataset: Dataset, folder: Path, format: Format, layout: Layout = "packed", splits: Sequence[str] | None = None, files: int = 1
) -> Dataset:
    """Writes `dataset`'s splits (all, or those named) to `folder`: features, labels unchecked, ids, extras, true probabilities.

    Parquet gets the features in use, TFRecords every feature that is stored. Records hold float32, so true probabilities and fractional
    extras lose digits there.
    """
    schema = dataset.schema
    if format == "tfrecord":
        schema = replace(schema, blocks={name: replace(block, use=block.width) for name, block in schema.blocks.items()})
    chosen = list(dataset.splits) if splits is None else list(splits)
    rows: dict[str, Rows] = {split: partial(dataset.read, split, schema) for split in chosen}
    expected = {split: dataset.rows(split) for split in chosen}
    origin = {"name": dataset.name, "format": dataset.format, "digest": dataset.digest(), "made": dataset.manifest.get("made", {})}
    if dataset.tables:
        origin["embeddings"] = {name: {**asdict(table.cfg), "sha256": cached_hash(table.file)} for name, table in dataset.tables.items()}
    return write_dataset(folder, dataset.name, schema, rows, format, files, layout, {"converted": origin}, expected=expected)
