"""Reads an event log into arrays, in time order."""

from __future__ import annotations

import glob
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recap_exp.data.events.config import EventsSource
from recap_exp.errors import DataError, nearest
from recap_exp.paths import data_path

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
HOUR = 3_600_000_000
"""Microseconds."""
COMPRESSED = (".gz", ".zip")


@dataclass(kw_only=True)
class Log:
    """M events in time order; events of one time stand in the order of the files."""

    viewer: np.ndarray
    """[M] int32 code of the viewer, 0 ... V - 1."""
    item: np.ndarray
    """[M] int32 code of the item."""
    time: np.ndarray
    """[M] int64 microseconds since 1970, UTC."""
    event: np.ndarray
    """[M] int32 index into `kinds`."""
    kinds: list[str]
    viewer_ids: np.ndarray
    """[V] int64 id of each code."""
    item_ids: np.ndarray
    columns: dict[str, tuple[np.ndarray, list[str]]]
    """Other columns by name: [M] int32 codes, -1 where null, and the text of each code."""

    def __len__(self) -> int:
        return len(self.time)


def log_files(source: EventsSource) -> list[Path]:
    """The files of the log, in the order in which they are read."""
    found: dict[Path, None] = {}
    for pattern in source.files:
        matches = sorted(glob.glob(str(data_path(pattern))))
        if not matches:
            raise DataError(
                f"data.source.files: nothing matches {data_path(pattern)}; put the log there, or set RECAP_DATA to the folder it is in"
            )
        found.update((Path(m), None) for m in matches)
    plain = {p for p in found if p.suffix not in COMPRESSED}
    return [p for p in found if p.suffix not in COMPRESSED or p.with_suffix("") not in plain]


def fingerprint(source: EventsSource) -> str:
    """SHA-256 over the content of the log's files."""
    digest = hashlib.sha256()
    for path in log_files(source):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_log(source: EventsSource) -> Log:
    """Every event of the log; only the columns that the configuration names are read."""
    names = source.columns
    wanted = list(dict.fromkeys([names.viewer, names.item, names.time, names.event, *(c.column for c in source.categorical.values())]))
    files = log_files(source)
    tables = [_read_table(path, wanted, names.time if source.time_unit == "iso" else None) for path in files]
    if not sum(len(t) for t in tables):
        raise DataError(f"{files[0]}: the log has no events")
    read = list(zip(files, tables, strict=True))
    for key in ("viewer", "item", "time", "event"):
        for path, table in read:
            if table.column(getattr(names, key)).null_count:
                row = int(np.argmax(table.column(getattr(names, key)).is_null().to_numpy()))
                raise DataError(f"{path}: row {row + 1} has no value in column '{getattr(names, key)}' (data.source.columns.{key})")
    time = np.concatenate([_microseconds(table.column(names.time), source.time_unit, names.time, path) for path, table in read])
    order = np.argsort(time, kind="stable")
    codes = {c: _encode([t.column(c) for t in tables]) for c in wanted if c != names.time}
    taken = {c: (codes_M[order], values) for c, (codes_M, values) in codes.items()}
    kinds = [str(v) for v in taken[names.event][1].to_pylist()]
    return Log(
        viewer=taken[names.viewer][0],
        item=taken[names.item][0],
        time=time[order],
        event=taken[names.event][0],
        kinds=kinds,
        viewer_ids=_ids(taken[names.viewer][1]),
        item_ids=_ids(taken[names.item][1]),
        columns={c.column: (taken[c.column][0], [str(v) for v in taken[c.column][1].to_pylist()]) for c in source.categorical.values()},
    )


def _read_table(path: Path, wanted: list[str], text: str | None) -> pa.Table:
    """The wanted columns of one file; `text` names a column that is read as text."""
    kind = path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix
    if kind not in (".csv", ".parquet") or (kind == ".parquet" and path.suffix in COMPRESSED):
        raise DataError(f"{path}: a log is .csv, .csv.gz, .csv.zip or .parquet")
    try:
        if kind == ".parquet":
            _check_columns(path, wanted, pq.read_schema(path).names)
            return pq.read_table(path, columns=wanted)
        stream: Any = _unzipped(path) if path.suffix == ".zip" else pa.input_stream(str(path))
        with stream:
            parse = pa_csv.ParseOptions(newlines_in_values=True)
            convert = pa_csv.ConvertOptions(column_types={text: pa.string()} if text else None, strings_can_be_null=True)
            table = pa_csv.read_csv(stream, parse_options=parse, convert_options=convert)
    except (pa.ArrowException, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: can't be read: {str(error).splitlines()[0]}") from error
    _check_columns(path, wanted, table.column_names)
    return table.select(wanted)


def _unzipped(path: Path) -> io.BufferedIOBase:
    archive = zipfile.ZipFile(path)
    members = [m for m in archive.infolist() if not m.is_dir()]
    if len(members) != 1:
        raise DataError(f"{path}: a zipped log has one member, this has {len(members)}")
    return archive.open(members[0])  # type: ignore[return-value]


def _check_columns(path: Path, wanted: list[str], there: list[str]) -> None:
    for name in wanted:
        if name not in there:
            raise DataError(f"{path}: no column '{name}'{nearest(name, there)}; there are {', '.join(there)}")


def _microseconds(column: pa.ChunkedArray, unit: str, name: str, path: Path) -> np.ndarray:
    """[M] int64, from numbers in `unit`, ISO texts, or timestamps."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy()
    if unit == "iso":
        parsed = pd.to_datetime(pd.Series(column.to_pandas(), dtype=str), format="ISO8601", utc=True, errors="coerce")
        if (bad := parsed.isna().to_numpy()).any():
            _unparsable(column, int(np.argmax(bad)), name, path, "is no ISO 8601 time (data.source.time_unit=iso)")
        return parsed.dt.as_unit("us").astype("int64").to_numpy()
    if pa.types.is_integer(column.type):
        values = column.to_numpy()
        bad = np.abs(values.astype(np.float64)) * MICROSECONDS[unit] >= 2**62
        if not bad.any():
            return values.astype(np.int64) * MICROSECONDS[unit]
    else:
        numbers = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64) * MICROSECONDS[unit]
        bad = ~(np.abs(numbers) < 2**62)
        if not bad.any():
            return np.rint(numbers).astype(np.int64)
    raise _unparsable(column, int(np.argmax(bad)), name, path, f"is no time in {unit} since 1970 (data.source.time_unit: s, ms, us or iso)")


def _unparsable(column: pa.ChunkedArray, row: int, name: str, path: Path, why: str) -> DataError:
    return DataError(f"{path}: row {row + 1}, column '{name}': {column[row].as_py()!r} {why}")


def _encode(chunks: list[pa.ChunkedArray]) -> tuple[np.ndarray, pa.Array]:
    """[M] int32 codes of the values, -1 where null, and the distinct values: integers where all are, else text."""
    whole = all(pa.types.is_integer(c.type) or pa.types.is_null(c.type) for c in chunks)
    wide = pa.int64() if whole else pa.string()
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in chunks]
    encoded = pa.chunked_array([a for c in plain for a in c.cast(wide).chunks], wide).combine_chunks().dictionary_encode()
    return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), encoded.dictionary


def _ids(values: pa.Array) -> np.ndarray:
    """[V] int64: integers as they are, texts as a hash that is the same everywhere."""
    if pa.types.is_integer(values.type):
        return values.to_numpy()
    return pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False).view(np.int64)
