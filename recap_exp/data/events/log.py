"""Reads an event log into arrays, in time order."""

from __future__ import annotations

import glob
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recap_exp.data.events.config import EventColumns
from recap_exp.data.ids import as_integers
from recap_exp.errors import DataError, first_line, nearest
from recap_exp.paths import data_path

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
HOUR = 3_600_000_000
"""Microseconds."""
MAX_TIME = 62_135_596_800_000_000
"""Microseconds either side of 1970, the years 1 to 3938: milliseconds that are taken for seconds lie beyond."""
COMPRESSED = (".gz", ".zip")


class LogSource(Protocol):
    """What says where a log is and how it is written."""

    files: list[str]
    columns: EventColumns
    time_unit: Literal["s", "ms", "us", "iso"]


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
    viewer_texts: pa.Array
    """[V] each id as the log writes it."""
    item_texts: pa.Array
    columns: dict[str, tuple[np.ndarray, list[str]]]
    """Other columns by name: [M] int32 codes, -1 where null, and the text of each code."""

    def __len__(self) -> int:
        return len(self.time)


def log_files(source: LogSource) -> list[Path]:
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


def read_log(source: LogSource, further: Sequence[str] = ()) -> Log:
    """Every event of the log; only the columns that the configuration names, and those in `further`, are read."""
    names = source.columns
    wanted = list(dict.fromkeys([names.viewer, names.item, names.time, names.event, *further]))
    read = [(path, _read_table(path, wanted, names.time, source.time_unit)) for path in log_files(source)]
    if not sum(len(table) for _, table in read):
        raise DataError(f"{read[0][0]}: the log has no events")
    for key in ("viewer", "item", "time", "event"):
        for path, table in read:
            column = table.column(getattr(names, key))
            if column.null_count:
                row = int(np.argmax(column.is_null().to_numpy()))
                raise DataError(f"{path}: row {row + 1} has no value in column '{getattr(names, key)}' (data.source.columns.{key})")
    time = np.concatenate([_microseconds(table.column(names.time), source.time_unit, names.time, path) for path, table in read])
    order = np.argsort(time, kind="stable")
    encoded = {}
    for name in wanted:
        if name != names.time:
            codes, values = _encode([_texts(table.column(name), name, path) for path, table in read])
            encoded[name] = codes[order], values
    return Log(
        viewer=encoded[names.viewer][0],
        item=encoded[names.item][0],
        time=time[order],
        event=encoded[names.event][0],
        kinds=encoded[names.event][1].to_pylist(),
        viewer_ids=as_integers(encoded[names.viewer][1]),
        item_ids=as_integers(encoded[names.item][1]),
        viewer_texts=encoded[names.viewer][1],
        item_texts=encoded[names.item][1],
        columns={name: (encoded[name][0], encoded[name][1].to_pylist()) for name in further},
    )


def _read_table(path: Path, wanted: list[str], time: str, unit: str) -> pa.Table:
    """The wanted columns of one file. Of a CSV, all but the time are texts: ids of any length stay as they are written."""
    kind = path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix
    if kind not in (".csv", ".parquet") or (kind == ".parquet" and path.suffix in COMPRESSED):
        raise DataError(f"{path}: a log is .csv, .csv.gz, .csv.zip or .parquet")
    try:
        if kind == ".parquet":
            _check_columns(path, wanted, pq.read_schema(path).names)
            return pq.read_table(path, columns=wanted)
        parse = pa_csv.ParseOptions(newlines_in_values=True)
        with _opened(path) as file, pa_csv.open_csv(file, parse_options=parse) as head:
            _check_columns(path, wanted, head.schema.names)
        types = {name: pa.dictionary(pa.int32(), pa.string()) for name in wanted if name != time}
        if unit == "iso":
            types[time] = pa.string()
        # Only the empty text is null: NA is Namibia.
        convert = pa_csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[""], strings_can_be_null=True)
        with _opened(path) as file:
            return pa_csv.read_csv(file, parse_options=parse, convert_options=convert)
    except (pa.ArrowException, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: can't be read: {first_line(error)}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file's bytes, unpacked."""
    if path.suffix != ".zip":
        with pa.input_stream(str(path)) as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1:
            raise DataError(f"{path}: a zipped log has one member, this has {len(members)}")
        with archive.open(members[0]) as file:
            yield file


def _check_columns(path: Path, wanted: list[str], there: list[str]) -> None:
    for name in wanted:
        if name not in there:
            raise DataError(f"{path}: no column '{name}'{nearest(name, there)}; there are {', '.join(there)}")


def _microseconds(column: pa.ChunkedArray, unit: str, name: str, path: Path) -> np.ndarray:
    """[M] int64, from numbers in `unit`, ISO texts, or timestamps."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy()
    if unit == "iso":
        parsed = pd.to_datetime(column.to_pandas().astype(str), format="ISO8601", utc=True, errors="coerce")
        bad, times = parsed.isna().to_numpy(), parsed.dt.as_unit("us").astype("int64").to_numpy()
    elif pa.types.is_integer(column.type):
        values = column.to_numpy().astype(np.int64)
        bad, times = np.abs(values) > MAX_TIME // MICROSECONDS[unit], values * MICROSECONDS[unit]
    else:
        numbers = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64) * MICROSECONDS[unit]
        bad = ~(np.abs(numbers) <= MAX_TIME)
        times = np.rint(np.where(bad, 0, numbers)).astype(np.int64)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{path}: row {row + 1}, column '{name}': {column[row].as_py()!r} is no time in data.source.time_unit={unit}")
    return times


def _texts(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """The column as texts, each distinct one stored once."""
    try:
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        chunks = [pa.DictionaryArray.from_arrays(c.indices.cast(pa.int32()), c.dictionary.cast(pa.string())) for c in column.chunks]
    except pa.ArrowException:
        raise DataError(f"{path}: column '{name}' holds {column.type}, which is neither number nor text") from None
    return pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string()))


def _encode(columns: list[pa.ChunkedArray]) -> tuple[np.ndarray, pa.Array]:
    """[M] int32 codes of the texts, -1 where null, and the distinct texts."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    whole = pa.chunked_array(chunks).unify_dictionaries().combine_chunks()
    return pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False), whole.dictionary
