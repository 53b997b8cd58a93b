"""What a data set's columns mean, resolved against its files, and the columns themselves in memory.

Shape suffixes: N rows of a chunk, C continuous, I binary, J discrete, E embedding width, B batch, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recap_exp.data.config import BlockConfig, BlockKind
from recap_exp.errors import ConfigError

TRUTH = "truth/"
"""Prefix of the stored column that holds the true probability of a label column, in data made with a known signal."""

DTYPES: dict[BlockKind, type[np.generic]] = {
    "continuous": np.float32,
    "binary": np.float32,
    "discrete": np.int64,
    "embedding": np.float32,
}
"""Type of a block in memory."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Stored columns that enter the model together as one tensor [rows, use]."""

    kind: BlockKind
    columns: tuple[str, ...]
    """Stored columns, patterns expanded, in order."""
    width: int
    """Features stored."""
    use: int
    """Features read: the first `use` of them."""


def declared_block(name: str, block: BlockConfig, by: str) -> Block:
    """A block as the configuration alone describes it, for data (`by`) whose files can't be asked.

    Raises ConfigError for a missing width, a pattern among the columns, or neither one column nor one a feature.
    """
    if block.width is None:
        raise ConfigError(f"data.blocks.{name}.width is missing: {by} can't do without")
    if wild := [c for c in block.columns if "*" in c or "?" in c]:
        raise ConfigError(f"data.blocks.{name}.columns has the pattern {wild[0]!r}: patterns work for Parquet, {by} need full names")
    if len(block.columns) not in (1, block.width):
        raise ConfigError(
            f"data.blocks.{name} has {len(block.columns)} columns and width {block.width}: {by} have one column of that length, "
            "or one column a feature"
        )
    return Block(kind=block.kind, columns=tuple(block.columns), width=block.width, use=block.use or block.width)


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Everything a reader must bring and a writer must store. A sub-schema reads less."""

    blocks: dict[str, Block] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """Our name -> stored int64 column."""
    labels: tuple[str, ...] = ()
    """Stored label columns."""
    truths: tuple[str, ...] = ()
    """Label columns whose true probability is stored, under TRUTH + label."""
    extras: dict[str, str] = field(default_factory=dict)
    """Our name -> stored scalar column of any type."""

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Schema:
        """Inverse of `to_json`."""
        blocks = {n: Block(**{**b, "columns": tuple(b["columns"])}) for n, b in stored["blocks"].items()}
        return cls(
            blocks=blocks,
            ids=dict(stored["ids"]),
            labels=tuple(stored["labels"]),
            truths=tuple(stored["truths"]),
            extras=dict(stored["extras"]),
        )


@dataclass(kw_only=True)
class Columns:
    """N rows in memory, by our names. Arrays are the reader's: copy before writing to them."""

    blocks: dict[str, np.ndarray] = field(default_factory=dict)
    """[N, use], of type DTYPES[kind]."""
    ids: dict[str, np.ndarray] = field(default_factory=dict)
    """[N] int64."""
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    """[N] by stored label column, as stored (any numeric type): checked when batched, not here. Nulls are NaN."""
    truths: dict[str, np.ndarray] = field(default_factory=dict)
    """[N] float64 by stored label column."""
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    """[N] numbers, or str objects."""
    file: str | np.ndarray = ""
    """Where the rows come from, for error messages: one file of them all, or [N] str objects."""
    records: np.ndarray | None = None
    """[N] record number of each row within its file (from 0), for error messages."""

    def groups(self) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """The five groups of arrays by field name."""
        for name in ("blocks", "ids", "labels", "truths", "extras"):
            yield name, getattr(self, name)

    def __len__(self) -> int:
        for _, arrays in self.groups():
            for array in arrays.values():
                return len(array)
        return 0 if self.records is None else len(self.records)

    def take(self, rows: np.ndarray | slice) -> Columns:
        """The chosen rows, in the order given."""
        picked = {name: {k: v[rows] for k, v in arrays.items()} for name, arrays in self.groups()}
        file = self.file if isinstance(self.file, str) else self.file[rows]
        return Columns(**picked, file=file, records=None if self.records is None else self.records[rows])

    def place(self, row: int) -> str:
        """Where a row comes from, in words."""
        file = self.file if isinstance(self.file, str) else self.file[row]
        return f"{file}: " + (f"row {row} of a batch" if self.records is None else f"record {self.records[row]}")

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """The rows of all parts, one after the other; they must have the same columns."""
        if len(parts) == 1:
            return parts[0]
        whole = {name: {k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in arrays} for name, arrays in parts[0].groups()}
        file = parts[0].file
        if not (isinstance(file, str) and all(isinstance(p.file, str) and p.file == file for p in parts)):
            file = np.concatenate([np.full(len(p), p.file, object) for p in parts])
        records = [p.records for p in parts if p.records is not None]
        return cls(**whole, file=file, records=np.concatenate(records) if len(records) == len(parts) else None)


Rows = Callable[[], Iterator[Columns]]
"""Starts the rows of a split anew, in chunks."""

CHUNK_BYTES = 8 * 2**20


def chunk_rows(schema: Schema) -> int:
    """Rows that make about 8 MB in memory: how many a reader hands over at a time, and a row group holds."""
    features = sum(b.use * np.dtype(DTYPES[b.kind]).itemsize for b in schema.blocks.values())
    scalars = 8 * (len(schema.ids) + len(schema.labels) + len(schema.truths) + len(schema.extras))
    return min(max(CHUNK_BYTES // max(features + scalars, 1), 64), 65536)
