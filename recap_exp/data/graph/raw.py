"""What every source of edges gives: a stream of raw edges, and the types that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recap_exp.data.graph.config import EntityConfig, RelationConfig
from recap_exp.data.graph.workshop import FILE_BITS
from recap_exp.errors import DataError

CHUNK = 2**16
"""Edges handled at a time."""


@dataclass(kw_only=True)
class Read:
    """What a source says of the edges that it has put into the table `raw`."""

    entities: dict[str, EntityConfig]
    relations: dict[str, RelationConfig]
    """In the order of their numbers."""
    splits: list[str]
    """In the order of their numbers."""
    nodes: Literal["rows", "ids"]
    """What lhs and rhs are."""
    by_time: dict[str, float] | None = None
    """Fractions by split into which the edges are cut yet: all have split 0."""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """Ids and attributes by row of the types whose nodes the source made itself."""
    made: dict[str, Any] = field(default_factory=dict)
    """For the manifest."""
    say_time: Callable[[Any], str] = str
    """A value of the column `time` in words."""


def raw_batch(split: int, at: np.ndarray, lhs: pa.Array, rel: np.ndarray, rhs: pa.Array, time: pa.Array | None = None) -> pa.RecordBatch:
    """Edges as the table `raw` takes them."""
    columns = {
        "split": pa.array(np.full(len(at), split, np.int32)),
        "place": pa.array(at),
        "lhs": lhs,
        "rel": pa.array(rel, pa.int32()),
        "rhs": rhs,
    }
    return pa.record_batch(columns if time is None else {**columns, "time": time})


def located(file: int, records: np.ndarray) -> np.ndarray:
    """[E] int64: the `place` of records of a file."""
    return (file << FILE_BITS) + records.astype(np.int64)


def part(batches: Iterator[pa.RecordBatch], offset: int, limit: int | None) -> Iterator[pa.RecordBatch]:
    """At most `limit` rows of a stream, from row `offset` on; the rest is not read."""
    end = None if limit is None else offset + limit
    first = 0
    for batch in batches:
        start = max(offset - first, 0)
        stop = len(batch) if end is None else min(end - first, len(batch))
        first += len(batch)
        if start < stop:
            yield batch.slice(start, stop - start)
        if end is not None and first >= end:
            return


def filled(array: pa.Array, place: str, column: str, records: np.ndarray) -> pa.Array:
    """The array, if it has no null. `place` and the numbers of the records say where one is."""
    if array.null_count:
        record = records[int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))]
        raise DataError(f"{place} {record}: column {column} has no value: fill it, or leave the edge out")
    return array


def as_id(array: pa.Array, integers: bool, place: str) -> pa.Array:
    """Ids as int64 or as texts."""
    try:
        return array.cast(pa.int64()) if integers else array.cast(pa.string())
    except pa.ArrowException:
        raise DataError(f"{place}: ids are integers of 64 bits or texts, not {array.type}") from None


def plain(array: pa.Array) -> pa.Array:
    """The values themselves, of a dictionary too."""
    return pc.cast(array, array.type.value_type) if pa.types.is_dictionary(array.type) else array
