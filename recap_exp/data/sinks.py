"""Files being written: rows go in piece by piece, a whole file comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recap_exp.data.example_writer import encode
from recap_exp.data.schema import DTYPES, TRUTH, Columns, Schema, chunk_rows
from recap_exp.data.tfrecord import RecordWriter
from recap_exp.errors import DataError, first_line

SUFFIX = {"parquet": ".parquet", "tfrecord": ".tfrecord.gz"}


class Sink(Protocol):
    """One file."""

    def write(self, columns: Columns) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Writes what is buffered and ends the file."""


def open_sink(path: Path, schema: Schema) -> Sink:
    """A new file of the format that its name ends in."""
    return ParquetSink(path, schema) if path.name.endswith(SUFFIX["parquet"]) else RecordSink(path, schema)


class RecordSink:
    """A GZIP TFRecord of tf.Example."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.schema = schema
        self.writer = RecordWriter(path)

    def write(self, columns: Columns) -> None:
        """Appends rows."""
        for record in encode(columns, self.schema):
            self.writer.write(record)

    def close(self) -> None:
        """Ends the file."""
        self.writer.close()


class ParquetSink:
    """LZ4 Parquet: a block is one fixed-size list column, or one column a feature; row groups of about 8 MB.

    The types of labels and extras are those of the first row group; NaN and None in them are stored as nulls.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema = path, schema
        self.rows = chunk_rows(schema)
        self.waiting: list[Columns] = []
        self.writer: pq.ParquetWriter | None = None

    def write(self, columns: Columns) -> None:
        """Appends rows; they reach the disk a row group at a time."""
        self.waiting.append(columns)
        if sum(map(len, self.waiting)) >= self.rows:
            whole = Columns.concatenate(self.waiting)
            end = len(whole) - len(whole) % self.rows
            for start in range(0, end, self.rows):
                self._write_group(whole.take(slice(start, start + self.rows)))
            self.waiting = [whole.take(slice(end, None))] if end < len(whole) else []

    def close(self) -> None:
        """Writes the last row group and the footer."""
        if self.waiting:
            self._write_group(Columns.concatenate(self.waiting))
            self.waiting = []
        if self.writer is not None:
            self.writer.close()

    def _write_group(self, columns: Columns) -> None:
        table = self._table(columns)
        if self.writer is None:
            scalars = [f.name for f in table.schema if not pa.types.is_fixed_size_list(f.type)]
            self.writer = pq.ParquetWriter(
                self.path,
                table.schema,
                compression="lz4",
                use_dictionary=[name for name in scalars if pa.types.is_string(table.schema.field(name).type)],  # type: ignore[arg-type]
                write_statistics=scalars,
            )
        self.writer.write_table(table, row_group_size=self.rows)

    def _table(self, columns: Columns) -> pa.Table:
        arrays: dict[str, pa.Array] = {}
        fields: dict[str, pa.Field] = {}
        for name, block in self.schema.blocks.items():
            values = columns.blocks[name][:, : block.use].astype(DTYPES[block.kind], copy=False)
            if values.shape[1] != block.use:
                raise DataError(f"block {name}: {values.shape[1]} features were given, wanted {block.use}")
            if len(block.columns) == 1:
                flat = pa.array(values.ravel())
                # Declared to be without nulls: reads a fifth faster.
                kind = pa.list_(pa.field("element", flat.type, nullable=False), block.use)
                arrays[block.columns[0]] = pa.FixedSizeListArray.from_arrays(flat, type=kind)
                fields[block.columns[0]] = pa.field(block.columns[0], kind, nullable=False)
            else:
                arrays |= {column: pa.array(np.ascontiguousarray(values[:, i])) for i, column in enumerate(block.columns)}
        arrays |= {column: pa.array(columns.ids[name].astype(np.int64)) for name, column in self.schema.ids.items()}
        arrays |= {label: self._scalar(label, columns.labels[label]) for label in self.schema.labels}
        arrays |= {TRUTH + label: pa.array(columns.truths[label], pa.float64(), from_pandas=True) for label in self.schema.truths}
        arrays |= {column: self._scalar(column, columns.extras[name]) for name, column in self.schema.extras.items()}
        schema = pa.schema([fields.get(name, pa.field(name, array.type)) for name, array in arrays.items()])
        return pa.Table.from_arrays(list(arrays.values()), schema=schema)

    def _scalar(self, column: str, values: np.ndarray) -> pa.Array:
        array: Any = pa.array(values, from_pandas=True)
        kind = self.writer.schema.field(column).type if self.writer else pa.string() if pa.types.is_null(array.type) else array.type
        try:
            return array.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"column {column} began with {kind} values: {first_line(error)}") from error
