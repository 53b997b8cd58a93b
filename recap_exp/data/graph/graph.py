"""A prepared graph: edges as Parquet by split, the ids and attributes of its nodes, and what its manifest says of both.

Shape letters: E edges, N rows of an entity's table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recap_exp.data.dataset import MANIFEST, split_digest
from recap_exp.data.fingerprint import file_hashes, json_sha256
from recap_exp.data.parquet import opened
from recap_exp.errors import DataError, nearest

KIND = "graph"
VERSION = 1
"""Of the manifest and of what the files mean."""

MANY_IDS = 100_000
"""Of larger tables no nearest spelling is looked for."""


def is_graph(folder: Path) -> bool:
    """Whether the folder's manifest is a graph's."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text()).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False


@dataclass(frozen=True)
class Relation:
    """A type of edge, from nodes of one type to nodes of one."""

    name: str
    left: str
    """Type of the node that acts."""
    right: str


@dataclass(frozen=True)
class GraphSchema:
    """Types of node and of edge. Edges hold relations by their place in `relations`."""

    entities: dict[str, int]
    """Rows of each type's table."""
    relations: tuple[Relation, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"entities": dict(self.entities), "relations": [[r.name, r.left, r.right] for r in self.relations]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GraphSchema:
        """What `to_json` gave."""
        return cls(dict(value["entities"]), tuple(Relation(*r) for r in value["relations"]))


@dataclass(frozen=True)
class Edges:
    """E edges: rows of the tables of the relation's own types, and the relation's number. int64, [E] each."""

    lhs: np.ndarray
    rel: np.ndarray
    rhs: np.ndarray

    def __len__(self) -> int:
        return len(self.lhs)

    def take(self, rows: np.ndarray | slice) -> Edges:
        """These edges alone."""
        return Edges(self.lhs[rows], self.rel[rows], self.rhs[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[Edges]) -> Edges:
        """All edges of the parts, in order."""
        return parts[0] if len(parts) == 1 else cls(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("lhs", "rel", "rhs")))


@dataclass(frozen=True)
class Graph:
    """Splits of edges over tables of nodes. Edges are read as streams; ids, attributes and degrees are arrays, read when asked for."""

    name: str
    folder: Path
    schema: GraphSchema
    splits: dict[str, tuple[Path, ...]]
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> Graph:
        """The graph that was written into `folder`. Raises DataError where there is none, or where files of it are missing."""
        path = folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            if manifest.get("kind") != KIND:
                raise DataError(f"{folder}: holds a data set of rows, not a graph: data=dataset reads it")
            splits = {name: tuple(folder / f["path"] for f in split["files"]) for name, split in manifest["splits"].items()}
            made = cls(manifest["name"], folder, GraphSchema.from_json(manifest["schema"]), splits, manifest)
        except FileNotFoundError:
            raise DataError(f"{folder}: no graph is here ({MANIFEST} is missing); `recap-exp data` makes one") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(f"{path}: can't be read as a graph's manifest ({type(error).__name__}: {error})") from error
        if manifest.get("version") != VERSION:
            raise DataError(f"{path}: is of version {manifest.get('version')}, wanted {VERSION}: make the graph anew")
        for file in (f for files in (*splits.values(), made.entity_files) for f in files if not f.is_file()):
            raise DataError(f"{file}: is missing, although {path} names it")
        return made

    @property
    def entity_files(self) -> tuple[Path, ...]:
        """One file a type of node: ids and attributes by row."""
        return tuple(self.folder / self.manifest["entities"][entity]["path"] for entity in self.schema.entities)

    def files(self, split: str) -> tuple[Path, ...]:
        """The files of a split, in order."""
        if split not in self.splits:
            raise DataError(f"graph {self.name} has no split {split!r}{nearest(split, self.splits)}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def count(self, split: str) -> int:
        """Edges of a split."""
        self.files(split)
        return int(self.manifest["splits"][split]["edges"])

    def row_groups(self, split: str) -> list[tuple[Path, int]]:
        """The pieces in which a split can be read: (file, number of the row group in it), in order."""
        groups = []
        for file in self.files(split):
            with opened(file) as stored:
                groups += [(file, i) for i in range(stored.num_row_groups)]
        return groups

    def edges(self, split: str, groups: Sequence[tuple[Path, int]] | None = None) -> Iterator[Edges]:
        """The edges of a split in order, a row group at a time; with `groups`, these pieces of `row_groups` in this order."""
        for file, group in self.row_groups(split) if groups is None else groups:
            with opened(file) as stored:
                table = stored.read_row_group(group, use_threads=False)
            yield Edges(*(table.column(name).to_numpy().astype(np.int64, copy=False) for name in ("lhs", "rel", "rhs")))

    def ids(self, entity: str) -> pa.ChunkedArray:
        """[N] the original id of each row: integers or texts."""
        return self._table(entity, ["id"]).column("id")

    def first_ids(self, entity: str, rows: int) -> pa.Array:
        """The ids of the first rows, read without the others."""
        with opened(self._entity_file(entity)) as file:
            return next(file.iter_batches(rows, columns=["id"])).column("id")

    def attributes(self, entity: str) -> dict[str, np.ndarray]:
        """[N] each: what the vocabulary says of the nodes beside their ids; texts as objects. {} where it says nothing."""
        self._entity_file(entity)
        names = self.manifest["entities"][entity]["attributes"]
        table = self._table(entity, names)
        return {name: table.column(name).to_numpy() for name in names}

    def row_of(self, entity: str, text_id: str) -> int:
        """The row of the node with this id, given as text. Raises DataError where there is none."""
        ids = self.ids(entity)
        wanted: Any = str(text_id)
        if pa.types.is_integer(ids.type):
            wanted = int(wanted) if wanted.lstrip("-").isdecimal() and -(2**63) <= int(wanted) < 2**63 else None
        row = -1 if wanted is None else pc.index(ids, pa.scalar(wanted, ids.type)).as_py()
        if row < 0:
            near = nearest(str(text_id), (str(i) for i in ids.to_pylist())) if len(ids) <= MANY_IDS else ""
            raise DataError(f"graph {self.name} has no {entity} with the id {text_id}{near}; its ids are in {self._entity_file(entity)}")
        return int(row)

    def degrees(self, split: str = "train") -> dict[str, np.ndarray]:
        """[N] int64 by type: how many edge ends of the split each node is, on either side."""
        if split not in self._degrees:
            found = {entity: np.zeros(rows, np.int64) for entity, rows in self.schema.entities.items()}
            for edges in self.edges(split):
                for number, relation in enumerate(self.schema.relations):
                    chosen = edges.rel == number
                    for entity, ends in ((relation.left, edges.lhs), (relation.right, edges.rhs)):
                        found[entity] += np.bincount(ends[chosen], minlength=len(found[entity]))
            self._degrees[split] = found
        return self._degrees[split]

    @cached_property
    def _degrees(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    def digest(self, split: str | None = None) -> str:
        """SHA-256 over the contents of a split's files; where None, over all splits by name, the nodes' tables and the types."""
        if split is not None:
            return split_digest(list(self.hashes(split).values()), {})
        splits = {name: self.digest(name) for name in self.splits}
        return json_sha256([splits, list(file_hashes(self.entity_files).values()), self.schema.to_json()])

    def hashes(self, split: str, fresh: bool = False) -> dict[str, str]:
        """SHA-256 of each file of a split, in order: see `file_hashes`."""
        return file_hashes(self.files(split), fresh)

    def _entity_file(self, entity: str) -> Path:
        if entity not in self.schema.entities:
            known = ", ".join(self.schema.entities)
            raise DataError(f"graph {self.name} has no entity '{entity}'{nearest(entity, self.schema.entities)}; it has {known}")
        return self.folder / self.manifest["entities"][entity]["path"]

    def _table(self, entity: str, columns: list[str]) -> pa.Table:
        with opened(self._entity_file(entity)) as file:
            return file.read(columns)
