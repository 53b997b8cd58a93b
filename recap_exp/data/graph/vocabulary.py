"""Vocabularies: which row of its table a node has. Given as files, or made of the edges in sorted order of the ids.

Each type's are kept in the workshop's table `nodes_K`, K the number of the type: columns row, id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from recap_exp import paths
from recap_exp.data.graph.config import EntityConfig
from recap_exp.data.graph.raw import CHUNK, Read, as_id, filled, plain
from recap_exp.data.graph.workshop import Workshop
from recap_exp.data.parquet import opened
from recap_exp.errors import DataError, nearest


def given_vocabularies(shop: Workshop, entities: Mapping[str, EntityConfig]) -> dict[str, int]:
    """Reads the vocabulary files that the configuration names; rows by type. Raises DataError where an id is missing or there twice.

    entities: all types of the graph, in order.
    """
    rows = {}
    for number, (entity, cfg) in enumerate(entities.items()):
        if cfg.vocabulary is None:
            continue
        path = vocabulary_file(cfg.vocabulary)
        shop.insert(f"nodes_{number}", _with_rows(batch.select(["id"]) for batch in read_vocabulary(path)))
        count = int(shop.one(f"SELECT count(*) FROM nodes_{number}")[0]) if shop.has(f"nodes_{number}") else 0
        if not count:
            raise DataError(f"{path}: holds no id of entity {entity}")
        if twice := shop.first_of(f"SELECT id, min(row), max(row) FROM nodes_{number} GROUP BY id HAVING count(*) > 1 ORDER BY 2 LIMIT 1"):
            raise DataError(f"{path}: rows {twice[1]} and {twice[2]} both have the id {twice[0]}: each row needs an id of its own")
        rows[entity] = count
    return rows


def vocabulary_file(vocabulary: str) -> Path:
    """The file that a configuration names. Raises DataError where it is not there."""
    path = paths.data_path(vocabulary)
    if not path.is_file():
        raise DataError(f"no vocabulary is at {path} (RECAP_DATA is where paths begin)")
    return path


def read_vocabulary(path: Path) -> Iterator[pa.RecordBatch]:
    """The ids (int64 or texts, column `id`) and attributes of a vocabulary file, some rows at a time."""
    first = 0
    if path.suffix in (".parquet", ".pq"):
        with opened(path) as file:
            if "id" not in (names := file.schema_arrow.names):
                raise DataError(f"{path}: has no column id{nearest('id', names)}; its columns are {', '.join(names)}")
            for batch in file.iter_batches(CHUNK, use_threads=False):
                ids = filled(plain(batch.column("id")), f"{path}: record", "id", np.arange(first, first + len(batch)))
                ids = as_id(ids, pa.types.is_integer(ids.type), f"{path}: column id")
                yield pa.record_batch({"id": ids, **{name: plain(batch.column(name)) for name in names if name != "id"}})
                first += len(batch)
        return
    try:
        with open(path, encoding="utf-8") as lines:
            while chunk := lines.readlines(2**20):
                words = [line.rstrip("\r\n") for line in chunk]
                if "" in words:
                    raise DataError(f"{path}: line {first + words.index('') + 1} is empty: each line is the id of a row")
                yield pa.record_batch({"id": pa.array(words, pa.string())})
                first += len(words)
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{path}: can't be read as text: {error}; a vocabulary is Parquet with a column id, or text with an id a line"
        ) from error


def _with_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in batches:
        yield pa.record_batch({"row": np.arange(first, first + len(batch)), "id": batch.column("id")})
        first += len(batch)


def number_nodes(shop: Workshop, read: Read) -> None:
    """From `raw` with ids to `edges` with rows. Vocabularies that are not given are made of all edges that were read.

    Raises DataError naming the place of an id that a given vocabulary lacks.
    """
    kinds = shop.columns("raw")
    for number, entity in enumerate(read.entities):
        if not shop.has(f"nodes_{number}"):
            _make_vocabulary(shop, read, f"nodes_{number}", entity, kinds)
    shop.run("CREATE TABLE edges (split INTEGER, place BIGINT, lhs BIGINT, rel INTEGER, rhs BIGINT)")
    types = list(read.entities)
    pairs = sorted({(types.index(r.left), types.index(r.right)) for r in read.relations.values()})
    for left, right in pairs:
        rels = [n for n, r in enumerate(read.relations.values()) if (r.left, r.right) == (types[left], types[right])]
        kind = {side: shop.columns(f"nodes_{number}")["id"] for side, number in (("lhs", left), ("rhs", right))}
        shop.run(f"""
            INSERT INTO edges SELECT raw.split, raw.place, l.row, raw.rel, r.row FROM raw
            LEFT JOIN nodes_{left} l ON TRY_CAST(raw.lhs AS {kind["lhs"]}) = l.id
            LEFT JOIN nodes_{right} r ON TRY_CAST(raw.rhs AS {kind["rhs"]}) = r.id
            WHERE raw.rel IN ({_list(rels)})""")
    _check_known(shop, read)
    shop.run("DROP TABLE raw")


def _make_vocabulary(shop: Workshop, read: Read, table: str, entity: str, kinds: dict[str, str]) -> None:
    """The distinct ids of a type in sorted order: integers where all its ends are, else texts, by their bytes."""
    sides = {
        "lhs": [n for n, r in enumerate(read.relations.values()) if r.left == entity],
        "rhs": [n for n, r in enumerate(read.relations.values()) if r.right == entity],
    }
    used = {side: rels for side, rels in sides.items() if rels}
    kind = "VARCHAR" if any(kinds[side] == "VARCHAR" for side in used) else "BIGINT"
    parts = [f"SELECT {side}::{kind} AS id FROM raw WHERE rel IN ({_list(rels)})" for side, rels in used.items()]
    union = " UNION ALL ".join(parts) or "SELECT 0::BIGINT AS id WHERE false"
    shop.run(f"CREATE TABLE sorted AS SELECT DISTINCT id FROM ({union}) ORDER BY id")
    shop.run(f"CREATE TABLE {table} AS SELECT rowid AS row, id FROM sorted")
    shop.run("DROP TABLE sorted")


def _check_known(shop: Workshop, read: Read) -> None:
    found = shop.first_of("SELECT split, place, lhs, rel FROM edges WHERE lhs IS NULL OR rhs IS NULL ORDER BY split, place LIMIT 1")
    if found is None:
        return
    split, place, lhs, rel = found
    side, relation = ("lhs" if lhs is None else "rhs"), list(read.relations.values())[rel]
    word = shop.one(f"SELECT {side} FROM raw WHERE split = ? AND place = ? AND rel = ?", [split, place, rel])[0]
    entity = relation.left if side == "lhs" else relation.right
    way = f"data.entities.{entity}.vocabulary={read.entities[entity].vocabulary} does not have: add it there, or set it to null"
    raise DataError(f"{shop.place(place)}: {side} is {word!r}, which {way}, to make one of the edges")


def _list(numbers: list[int]) -> str:
    return ", ".join(str(n) for n in numbers)
