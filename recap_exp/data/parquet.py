"""Parquet files: packed blocks (list columns) and named ones (a scalar column a feature), mixed freely, read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recap_exp.data.schema import DTYPES, TRUTH, Block, Columns, Schema, chunk_rows
from recap_exp.errors import DataError, first_line, nearest

Where = Mapping[str, str | int]


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The open file; anything that Arrow says against it becomes a DataError that names it."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as Parquet ({first_line(error)})") from error


def is_list(kind: pa.DataType) -> bool:
    """A column that holds several features a row."""
    return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_number(kind: pa.DataType) -> bool:
    """Types that can be a feature, a label or an id."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)


def lengths(file: pq.ParquetFile, columns: list[str] | tuple[str, ...]) -> list[int | None]:
    """Features in each column: 1 for a scalar, a fixed list's size, the first filled row's length for another list (None: all are null)."""
    found: list[int | None] = []
    stored = file.schema_arrow  # made anew at every access
    for column in columns:
        kind = stored.field(column).type
        if pa.types.is_fixed_size_list(kind):
            found.append(kind.list_size)
        elif not is_list(kind):
            found.append(1)
        else:
            sizes = (
                pc.list_value_length(batch.column(column)).drop_null()
                for batch in file.iter_batches(batch_size=256, columns=[column], use_threads=False)
            )
            found.append(next((s[0].as_py() for s in sizes if len(s)), None))
    return found


def count(path: Path, where: Where) -> int:
    """Rows of the file that `where` keeps."""
    with opened(path) as file:
        if not where:
            return file.metadata.num_rows
        _require(path, file.schema_arrow, where)
        return sum(int(_kept(path, batch, where).sum()) for batch in file.iter_batches(columns=list(where), use_threads=False))


def read(path: Path, schema: Schema, where: Where = {}) -> Iterator[Columns]:  # noqa: B006
    """The file's rows where every column in `where` has its value; only the columns that `schema` names are read.

    Nulls are 0 in features and ids, NaN in labels and truths, NaN or None in extras. Raises DataError naming file and column where a
    column is missing or of the wrong type, and the record too where a list has the wrong length.
    """
    with opened(path) as file:
        _require(path, file.schema_arrow, stored_columns(schema))
        take = _Taker(path, file, schema)
        for batch, records in batches(path, file, stored_columns(schema), where, chunk_rows(schema)):
            yield take(batch, records)


def batches(
    path: Path, file: pq.ParquetFile, columns: Sequence[str], where: Where, rows: int
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Up to `rows` rows at a time that `where` keeps, and their numbers in the file. Raises DataError where a column is missing."""
    wanted = list(dict.fromkeys([*columns, *where]))
    _require(path, file.schema_arrow, wanted)
    first = 0
    for group in range(file.num_row_groups):
        metadata = file.metadata.row_group(group)
        if _excluded(metadata, where):
            first += metadata.num_rows
            continue
        for batch in file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
            records = np.arange(first, first + len(batch))
            first += len(batch)
            if where:
                kept = _kept(path, batch, where)
                if not kept.any():
                    continue
                batch, records = batch.filter(pa.array(kept)), records[kept]
            yield batch, records


def stored_columns(schema: Schema) -> list[str]:
    """The columns of the file that a schema needs."""
    blocks = [c for block in schema.blocks.values() for c in block.columns]
    return [*blocks, *schema.ids.values(), *schema.labels, *(TRUTH + t for t in schema.truths), *schema.extras.values()]


def _require(path: Path, stored: pa.Schema, columns: list[str] | Where) -> None:
    names = set(stored.names)
    for column in columns:
        if column not in names:
            raise DataError(f"{path}: has no column {column}{nearest(column, names)}")


def _excluded(group: pq.RowGroupMetaData, where: Where) -> bool:
    """True where the row group's statistics rule out every row."""
    for i in range(group.num_columns if where else 0):
        column = group.column(i)
        value: Any = where.get(column.path_in_schema)
        stats = column.statistics if value is not None else None
        if stats is not None and stats.has_min_max and type(stats.min) is type(value) and not stats.min <= value <= stats.max:
            return True
    return False


def _kept(path: Path, batch: pa.RecordBatch, where: Where) -> np.ndarray:
    kept = np.ones(len(batch), dtype=bool)
    for column, value in where.items():
        array = _decoded(batch.column(column))
        try:
            same = pc.equal(array, pa.scalar(value).cast(array.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(f"{path}: column {column} holds {array.type} values, which can't be compared with {value!r}") from None
        kept &= pc.fill_null(same, False).to_numpy(zero_copy_only=False)
    return kept


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


class _Taker:
    """Record batches of one file to Columns."""

    def __init__(self, path: Path, file: pq.ParquetFile, schema: Schema) -> None:
        self.path, self.schema = path, schema
        self.lengths: dict[str, list[int]] = {}
        stored = file.schema_arrow
        for name, block in schema.blocks.items():
            for column in block.columns:
                kind = stored.field(column).type
                if not is_number(kind.value_type if is_list(kind) else kind):
                    raise DataError(f"{path}: column {column} of block {name} holds {kind} values, wanted numbers or lists of numbers")
            self.lengths[name] = self._lengths(file, name, block)

    def _lengths(self, file: pq.ParquetFile, name: str, block: Block) -> list[int]:
        found = lengths(file, block.columns)
        unknown = found.count(None)
        known = sum(n for n in found if n is not None)
        if unknown == 1:
            found = [block.width - known if n is None else n for n in found]
        if unknown > 1 or sum(n or 0 for n in found) != block.width:
            raise DataError(f"{self.path}: block {name}: its columns hold {known} features a row, wanted {block.width}")
        return [n or 0 for n in found]

    def __call__(self, batch: pa.RecordBatch, records: np.ndarray) -> Columns:
        schema = self.schema
        return Columns(
            blocks={name: self._block(batch, records, name, block) for name, block in schema.blocks.items()},
            ids={name: self._numbers(batch, column, np.int64) for name, column in schema.ids.items()},
            labels={label: self._label(batch, label) for label in schema.labels},
            truths={label: self._numbers(batch, TRUTH + label, np.float64, nulls=np.nan) for label in schema.truths},
            extras={name: _extra(_decoded(batch.column(column))) for name, column in schema.extras.items()},
            file=str(self.path),
            records=records,
        )

    def _block(self, batch: pa.RecordBatch, records: np.ndarray, name: str, block: Block) -> np.ndarray:
        dtype = DTYPES[block.kind]
        if len(block.columns) == block.width > 1:
            named = batch.select(block.columns[: block.use])
            if all(c.type == pa.from_numpy_dtype(dtype) and not c.null_count for c in named.columns):
                return named.to_tensor(row_major=True).to_numpy()  # many times faster than column by column
        rows = np.empty((len(batch), block.use), dtype) if len(block.columns) > 1 else None
        done = 0
        for column, length in zip(block.columns, self.lengths[name], strict=True):
            use = min(length, block.use - done)
            if use <= 0:
                break
            if is_list(batch.column(column).type):
                part = self._list(batch, records, column, length, dtype)[:, :use]
            else:
                part = self._numbers(batch, column, dtype)[:, None]
            if rows is None:
                return part
            rows[:, done : done + use] = part
            done += use
        assert rows is not None
        return rows

    def _list(self, batch: pa.RecordBatch, records: np.ndarray, column: str, length: int, dtype: type[np.generic]) -> np.ndarray:
        """[N, length]; rows whose list is null are 0."""
        array = batch.column(column)
        filled = array.is_valid().to_numpy(zero_copy_only=False)
        if not pa.types.is_fixed_size_list(array.type):
            sizes = pc.fill_null(pc.list_value_length(array), length).to_numpy(zero_copy_only=False)
            if (sizes != length).any():
                row = int(np.argmax(sizes != length))
                raise DataError(f"{self.path}: record {records[row]}: column {column} has {sizes[row]} values, wanted {length}")
        values = self._cast(array.flatten(), column, dtype).reshape(-1, length)
        if filled.all():
            return values
        rows = np.zeros((len(batch), length), dtype)
        rows[filled] = values
        return rows

    def _numbers(self, batch: pa.RecordBatch, column: str, dtype: type[np.generic], nulls: float = 0) -> np.ndarray:
        array = batch.column(column)
        if not is_number(array.type):
            raise DataError(f"{self.path}: column {column} holds {array.type} values, wanted numbers")
        return self._cast(array, column, dtype, nulls)

    def _label(self, batch: pa.RecordBatch, label: str) -> np.ndarray:
        """As stored: integers and booleans as int64, the rest as float64."""
        array = batch.column(label)
        whole = (pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)) and not array.null_count
        return self._numbers(batch, label, np.int64 if whole else np.float64, nulls=0 if whole else np.nan)

    def _cast(self, array: pa.Array, column: str, dtype: type[np.generic], nulls: float = 0) -> np.ndarray:
        """Without a copy where the type is right and nothing is null. To integers only where no value changes."""
        wanted = pa.from_numpy_dtype(dtype)
        try:
            if pa.types.is_decimal(array.type) or (pa.types.is_boolean(array.type) and pa.types.is_floating(wanted)):
                array = array.cast(pa.float64() if pa.types.is_decimal(array.type) else pa.int8())
            array = array.cast(wanted, safe=pa.types.is_integer(wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{self.path}: column {column}: {first_line(error)}") from error
        if array.null_count:
            array = pc.fill_null(array, pa.scalar(nulls, wanted))
        return array.to_numpy(zero_copy_only=False)


def _extra(array: pa.Array) -> np.ndarray:
    """Numbers (NaN for null), or str objects (None for null); times as whole numbers in their unit."""
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.int64() if array.type.bit_width == 64 else pa.int32())
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values = array.to_numpy(zero_copy_only=False)
    return values if values.dtype == object or values.dtype.kind in "iufb" else values.astype(object)
