"""A look into any data file in bounded time: its facts, and a sample of its rows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from recap_exp.data import parquet
from recap_exp.data.example import features_of
from recap_exp.data.tfrecord import read_records
from recap_exp.errors import DataError, first_line

SAMPLE_ROWS = 200_000
SAMPLE_BYTES = 256 * 2**20
SAMPLE_S = 3.0
SAMPLE_RECORDS = 500


@dataclass(frozen=True, kw_only=True)
class Peek:
    """Some rows of a file, and what is known of the whole."""

    format: str
    facts: str
    """In words: row groups, codec."""
    sample: pa.Table
    rows: int | None
    """Of the whole file; None where it would have to be read to the end."""

    @property
    def complete(self) -> bool:
        """The sample is the whole file."""
        return self.rows == len(self.sample)


def peek(path: Path) -> Peek:
    """Parquet by .parquet, CSV by .csv or .csv.gz, TFRecord by any other .gz. Raises DataError for anything else."""
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return _parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return _csv(path)
    if name.endswith(".gz"):
        return _records(path)
    raise DataError(f"{path}: what it holds can't be told from its name; known are .parquet, .csv, .csv.gz and .gz (TFRecord)")


def _bounded(batches: Iterator[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], bool]:
    """Batches up to the bounds; True where all came."""
    taken: list[pa.RecordBatch] = []
    rows = size = 0
    end = time.monotonic() + SAMPLE_S
    for batch in batches:
        taken.append(batch)
        rows += len(batch)
        size += batch.nbytes
        if rows >= SAMPLE_ROWS or size >= SAMPLE_BYTES or time.monotonic() > end:
            return taken, next(batches, None) is None
    return taken, True


def _parquet(path: Path) -> Peek:
    """Row groups in random order after the first: tables are often sorted by time."""
    with parquet.opened(path) as file:
        metadata = file.metadata
        groups = list(range(metadata.num_row_groups))
        rest = groups[1:]
        random.Random(0).shuffle(rest)
        per_row = max(sum(metadata.row_group(g).total_byte_size for g in groups) // max(metadata.num_rows, 1), 1)
        rows = max(min(8 * 2**20 // per_row, 65536), 1)
        batches, _ = _bounded(b for g in groups[:1] + rest for b in file.iter_batches(rows, row_groups=[g], use_threads=False))
        codec = metadata.row_group(0).column(0).compression.lower() if groups and metadata.num_columns else "none"
        facts = f"{metadata.num_columns} stored columns, {len(groups)} row group{'s' * (len(groups) != 1)}, {codec}"
        return Peek(format="Parquet", facts=facts, sample=pa.Table.from_batches(batches, file.schema_arrow), rows=metadata.num_rows)


def _csv(path: Path) -> Peek:
    try:
        with pa_csv.open_csv(path) as reader:
            batches, whole = _bounded(iter(reader))
            sample = pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as CSV ({first_line(error)})") from error
    return Peek(format="CSV", facts=f"{sample.num_columns} columns", sample=sample, rows=len(sample) if whole else None)


def _records(path: Path) -> Peek:
    records = read_records(path)
    rows = []
    for i, record in enumerate(islice(records, SAMPLE_RECORDS)):
        try:
            rows.append({key: values[0] if len(values) == 1 else values for key, values in features_of(record).items()})
        except ValueError as error:
            raise DataError(f"{path}: record {i}: {error}") from error
    whole = len(rows) < SAMPLE_RECORDS or next(records, None) is None
    names = sorted({name for row in rows for name in row})
    try:
        sample = pa.table({name: pa.array([_plain(row.get(name)) for row in rows]) for name in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: a feature changes its type from record to record ({first_line(error)})") from error
    return Peek(format="GZIP TFRecord", facts=f"{len(names)} features", sample=sample, rows=len(rows) if whole else None)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value
