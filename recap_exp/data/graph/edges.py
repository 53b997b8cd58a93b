"""Edges of Parquet files: rows of tables or ids, relations by number or name. Shape letter: E edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recap_exp.data import parquet
from recap_exp.data.files import expand
from recap_exp.data.graph.config import EdgeFiles, EdgesSource, GraphConfig
from recap_exp.data.graph.raw import CHUNK, Read, as_id, filled, located, part, plain, raw_batch
from recap_exp.data.graph.workshop import Workshop
from recap_exp.errors import DataError, nearest

UNBOUNDED = np.iinfo(np.int64).max


def read_edges(shop: Workshop, cfg: GraphConfig, source: EdgesSource, sizes: Mapping[str, int | None]) -> Read:
    """Puts the edges of all splits into `raw`. `sizes`: rows of each type's table as far as they are known, against which rows are checked.

    Raises DataError naming file, record, column and value.
    """
    reader = _Reader(shop, cfg, source, sizes)
    for number, files in enumerate(source.splits.values()):
        shop.insert("raw", part(reader.batches(number, files), files.offset, files.limit))
    splits = list(source.by_time or source.splits)
    return Read(entities=cfg.entities, relations=cfg.relations, splits=splits, nodes=source.nodes, by_time=source.by_time)


class _Reader:
    def __init__(self, shop: Workshop, cfg: GraphConfig, source: EdgesSource, sizes: Mapping[str, int | None]) -> None:
        self.shop, self.source, self.columns = shop, source, source.columns
        self.names = (self.columns.lhs, self.columns.rel, self.columns.rhs, self.columns.time)
        self.relations = list(cfg.relations)
        self.types = {"lhs": [r.left for r in cfg.relations.values()], "rhs": [r.right for r in cfg.relations.values()]}
        self.sizes = sizes
        limit = {entity: UNBOUNDED if size is None else size for entity, size in sizes.items()}
        self.limits = {side: np.array([limit[t] for t in types], np.int64) for side, types in self.types.items()}
        self.paths = {id(files): expand(files.files, source.folder) for files in source.splits.values()}
        lhs, _, rhs, times = (self._stored_types(name) for name in self.names)
        self.integers = {"lhs": all(map(pa.types.is_integer, lhs)), "rhs": all(map(pa.types.is_integer, rhs))}
        if len(times) > 1:
            (one, a), (other, b) = list(times.items())[:2]
            raise DataError(f"{b}: column {self.columns.time} holds {other} values, but {one} in {a}: store one type of time")

    def _stored_types(self, column: str | None) -> dict[pa.DataType, Path]:
        """The types that a column has over all files, and the first file of each."""
        found: dict[pa.DataType, Path] = {}
        for path in dict.fromkeys(chain(*self.paths.values())):
            with parquet.opened(path) as file:
                stored = file.schema_arrow
            if column in stored.names:
                found.setdefault(stored.field(column).type, path)
        return found

    def batches(self, split: int, files: EdgeFiles) -> Iterator[pa.RecordBatch]:
        """Raw edges of a split's files, in order."""
        for path in self.paths[id(files)]:
            number = self.shop.number(path)
            with parquet.opened(path) as file:
                for batch, records in parquet.batches(path, file, [n for n in self.names if n is not None], files.where, CHUNK):
                    yield self._raw(path, split, located(number, records), records, batch)

    def _raw(self, path: Path, split: int, at: np.ndarray, records: np.ndarray, batch: pa.RecordBatch) -> pa.RecordBatch:
        def column(name: str) -> pa.Array:
            return filled(plain(batch.column(name)), f"{path}: record", name, records)

        rel = self._relations(path, records, column(self.columns.rel))
        sides = {}
        for side in ("lhs", "rhs"):
            name = getattr(self.columns, side)
            if self.source.nodes == "ids":
                sides[side] = as_id(column(name), self.integers[side], f"{path}: column {name}")
            else:
                sides[side] = self._rows(path, records, side, name, column(name), rel)
        time = column(self.columns.time) if self.columns.time is not None else None
        return raw_batch(split, at, sides["lhs"], rel, sides["rhs"], time)

    def _rows(self, path: Path, records: np.ndarray, side: str, name: str, nodes: pa.Array, rel_E: np.ndarray) -> pa.Array:
        """Nodes that are rows of their tables."""
        if not pa.types.is_integer(nodes.type):
            raise DataError(
                f"{path}: column {name} holds {nodes.type} values, wanted rows of tables; data.source.nodes=ids takes ids of any type"
            )
        nodes = as_id(nodes, True, f"{path}: column {name}")
        rows_E = nodes.to_numpy(zero_copy_only=False)
        bad = (rows_E < 0) | (rows_E >= self.limits[side][rel_E])
        if bad.any():
            i = int(np.argmax(bad))
            entity = self.types[side][rel_E[i]]
            has = f"rows of {entity} go from 0 to {self.sizes[entity] - 1}" if self.sizes[entity] else "rows begin at 0"  # type: ignore[operator]
            way = f": set data.entities.{entity}.size, or data.source.nodes=ids where the column holds ids"
            raise DataError(f"{path}: record {records[i]}: column {name} holds {rows_E[i]}, but {has}{way}")
        return nodes

    def _relations(self, path: Path, records: np.ndarray, rel: pa.Array) -> np.ndarray:
        """[E] the number of each edge's relation."""
        name, known = self.columns.rel, self.relations
        if not pa.types.is_integer(rel.type):
            numbers = pc.index_in(as_id(rel, False, f"{path}: column {name}"), pa.array(known))
            if numbers.null_count:
                i = int(np.argmax(numbers.is_null().to_numpy(zero_copy_only=False)))
                word = rel[i].as_py()
                has = f"data.relations are {', '.join(known)}{nearest(str(word), known)}"
                raise DataError(f"{path}: record {records[i]}: column {name} holds {word!r}, but {has}")
            return numbers.to_numpy(zero_copy_only=False).astype(np.int64)
        numbers_E = rel.cast(pa.int64()).to_numpy(zero_copy_only=False)
        bad = (numbers_E < 0) | (numbers_E >= len(known))
        if bad.any():
            i = int(np.argmax(bad))
            has = f"data.relations has {len(known)}, numbered from 0: {', '.join(known)}"
            raise DataError(f"{path}: record {records[i]}: column {name} holds {numbers_E[i]}, but {has}")
        return numbers_E
