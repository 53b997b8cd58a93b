"""Tables of embeddings, such as `recap-exp twhin export` writes, looked up by an id that the rows carry.

Shape suffixes: N rows, M rows of the table, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recap_exp import paths
from recap_exp.data.config import DataConfig, StoredEmbeddingConfig
from recap_exp.data.ids import text_hashes, whole_numbers
from recap_exp.data.parquet import is_list, opened
from recap_exp.errors import DataError

ID, VECTOR, BIAS, DEGREE = "id", "vector", "bias", "degree"
"""Columns of a table's file; the first two are needed."""


def exported_table(run: Path, entity: str) -> Path:
    """Where a TwHIN run, by its folder, keeps the table of an entity for rankers to read."""
    return run / "embeddings" / f"{entity}.parquet"


def table_file(cfg: StoredEmbeddingConfig) -> Path:
    """The file that a configuration names; of a run only by its whole id."""
    if (named := cfg.of_run) is None:
        return paths.data_path(cfg.table)
    return exported_table(paths.runs_dir() / named[0], named[1])


def table_files(data: DataConfig) -> list[Path]:
    """The files of all tables that the rows of `data` are joined with: what a run depends on beside its data."""
    return [table_file(cfg) for cfg in data.embeddings.values()]


class _Index(NamedTuple):
    keys: np.ndarray
    """Integer ids, sorted."""
    row: np.ndarray
    """The table's row of each."""
    vectors: np.ndarray
    """[M + 1, D]; the last is that of an unknown id."""


@dataclass(frozen=True)
class EmbeddingTable:
    """Vectors of one file, read when they are first asked for; a copy that goes to another process reads them anew.

    An id that is written as a whole number is found by that number and by its text's hash: which of them the rows of an event log carry
    depends on whether all ids of the log are numbers.
    """

    cfg: StoredEmbeddingConfig
    file: Path

    @classmethod
    def open(cls, cfg: StoredEmbeddingConfig) -> EmbeddingTable:
        """The table that `cfg` names. Raises DataError where there is none, or where it has no column of ids or vectors."""
        table = cls(cfg, table_file(cfg))
        if not table.file.is_file():
            way = f"`recap-exp twhin export run={cfg.of_run[0]}` writes it" if cfg.of_run else "`recap-exp twhin export` writes such tables"
            raise DataError(f"{table.file}: no table of embeddings is here; {way}")
        _ = table.width
        return table

    @cached_property
    def width(self) -> int:
        """D."""
        with opened(self.file) as file:
            stored = file.schema_arrow
        for column in (ID, VECTOR):
            if column not in stored.names:
                has = ", ".join(stored.names)
                raise DataError(f"{self.file}: a table of embeddings has the columns {ID} and {VECTOR}, this one has {has}")
        kind = stored.field(VECTOR).type
        if not is_list(kind) or not pa.types.is_floating(kind.value_type):
            raise DataError(f"{self.file}: column {VECTOR} holds {kind} values, wanted lists of floating-point numbers")
        return kind.list_size if pa.types.is_fixed_size_list(kind) else self._index.vectors.shape[1]

    def vectors(self, ids_N: np.ndarray) -> np.ndarray:
        """[N, D] float32."""
        return self._index.vectors[self._rows(ids_N)]

    def known(self, ids_N: np.ndarray) -> np.ndarray:
        """[N] bool: whether the table has a trained vector for the id."""
        return self._rows(ids_N) < len(self._index.vectors) - 1

    def _rows(self, ids_N: np.ndarray) -> np.ndarray:
        keys, row, vectors = self._index
        at = np.searchsorted(keys, ids_N).clip(max=len(keys) - 1)
        return np.where(keys[at] == ids_N, row[at], len(vectors) - 1)

    def __getstate__(self) -> dict[str, Any]:
        return {"cfg": self.cfg, "file": self.file}

    @cached_property
    def _index(self) -> _Index:
        with opened(self.file) as file:
            there = [column for column in (ID, VECTOR, DEGREE) if column in file.schema_arrow.names]
            table = file.read(there, use_threads=False)
        if DEGREE in there and pc.min(table.column(DEGREE)).as_py() == 0:
            table = table.filter(pc.greater(table.column(DEGREE), 0))
        if not len(table):
            raise DataError(f"{self.file}: the table has no trained vector")
        vectors_MD = self._vectors(table.column(VECTOR))
        keys, row = self._keys(table.column(ID))
        unknown_D = vectors_MD.mean(axis=0, dtype=np.float64) if self.cfg.unknown == "mean" else np.zeros(vectors_MD.shape[1])
        return _Index(keys, row, np.concatenate([vectors_MD, unknown_D[None].astype(np.float32)]))

    def _vectors(self, column: pa.ChunkedArray) -> np.ndarray:
        """[M, D] float32."""
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) != 1 or not lengths[0] or column.null_count:
            found = " and ".join(map(str, lengths))
            raise DataError(f"{self.file}: column {VECTOR} holds lists of {found} numbers, wanted one length for all")
        flat = pc.list_flatten(column).combine_chunks().cast(pa.float32(), safe=False)
        vectors_MD = flat.to_numpy(zero_copy_only=False).reshape(len(column), lengths[0])
        if not np.isfinite(vectors_MD).all():
            raise DataError(f"{self.file}: column {VECTOR} holds numbers that are not finite")
        return vectors_MD

    def _keys(self, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        if column.null_count:
            raise DataError(f"{self.file}: column {ID} has rows without an id")
        if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise DataError(f"{self.file}: column {ID} holds {column.type} values, wanted integers or texts")
        texts = column.combine_chunks().cast(pa.string())
        if len(pc.unique(texts)) < len(texts):
            repeated = pc.value_counts(texts)
            twice = next(entry["values"].as_py() for entry in repeated if entry["counts"].as_py() > 1)
            raise DataError(f"{self.file}: id {twice!r} has more than one vector")
        numbers, is_number = whole_numbers(texts)
        keys = np.concatenate([numbers[is_number], text_hashes(texts)])
        row = np.concatenate([np.flatnonzero(is_number), np.arange(len(texts))])
        order = np.argsort(keys, kind="stable")
        return keys[order], row[order]
