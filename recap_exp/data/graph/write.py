"""Writes a graph's folder: edges by split, nodes by type, and the manifest that says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recap_exp import paths
from recap_exp.data.dataset import MANIFEST, split_digest
from recap_exp.data.fingerprint import hash_file, json_sha256
from recap_exp.data.graph.graph import KIND, VERSION, GraphSchema, Relation
from recap_exp.data.graph.raw import CHUNK, Read
from recap_exp.data.graph.vocabulary import read_vocabulary
from recap_exp.data.graph.workshop import Workshop
from recap_exp.data.once import maker

ROW_GROUP = 2**16
"""Edges that are read at once."""
EDGES = pa.schema([("lhs", pa.int64()), ("rel", pa.int32()), ("rhs", pa.int64())])
COMPRESSION = "zstd"


def write_graph(draft: Path, name: str, shop: Workshop, read: Read, sizes: Mapping[str, int], made: Mapping[str, Any]) -> None:
    """The edges in `kept`, the nodes, and manifest.json into the folder `draft`. `made`: how the graph came about."""
    schema = GraphSchema(dict(sizes), tuple(Relation(n, r.left, r.right) for n, r in read.relations.items()))
    write_manifest(
        draft,
        {
            "kind": KIND,
            "version": VERSION,
            "name": name,
            "made": dict(made),
            "by": maker(),
            "schema": schema.to_json(),
            "entities": {
                entity: _write_nodes(draft, shop, read, entity, number, rows) for number, (entity, rows) in enumerate(sizes.items())
            },
            "splits": {split: _write_edges(draft, shop, read, split, number) for number, split in enumerate(read.splits)},
        },
    )


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """manifest.json, with the digest of all that it names."""
    splits = {split: split_digest([f["sha256"] for f in part["files"]], {}) for split, part in manifest["splits"].items()}
    digest = json_sha256([splits, [entity["sha256"] for entity in manifest["entities"].values()], manifest["schema"]])
    (folder / MANIFEST).write_text(json.dumps({**manifest, "digest": digest}, indent=1, default=str) + "\n")


def _write_edges(draft: Path, shop: Workshop, read: Read, split: str, number: int) -> dict[str, Any]:
    path = draft / split / "edges.parquet"
    path.parent.mkdir()
    with pq.ParquetWriter(path, EDGES, compression=COMPRESSION) as writer:
        for group in _groups(shop.stream(f"SELECT lhs, rel, rhs FROM kept WHERE split = {number} ORDER BY place, rel")):
            writer.write_table(group, row_group_size=ROW_GROUP)
    counts = dict(shop.all("SELECT rel, count(*) FROM kept WHERE split = ? GROUP BY rel", [number]))
    relations = {name: int(counts.get(n, 0)) for n, name in enumerate(read.relations)}
    edges = sum(relations.values())
    return {"edges": edges, "relations": relations, "files": [{"edges": edges, **_facts(draft, path)}]}


def _groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The same rows, ROW_GROUP at a time, whatever batches they came in."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + len(batch) >= ROW_GROUP:
            used = ROW_GROUP - count
            yield pa.Table.from_batches([*held, batch.slice(0, used)]).cast(EDGES)
            held, count, batch = [], 0, batch.slice(used)
        held.append(batch)
        count += len(batch)
    if count:
        yield pa.Table.from_batches(held).cast(EDGES)


def _write_nodes(draft: Path, shop: Workshop, read: Read, entity: str, number: int, rows: int) -> dict[str, Any]:
    path = draft / "entities" / f"{entity}.parquet"
    path.parent.mkdir(exist_ok=True)
    vocabulary = read.entities[entity].vocabulary
    batches: Iterator[pa.RecordBatch]
    if entity in read.tables:
        batches = iter(read.tables[entity].to_batches())
    elif vocabulary is not None:
        batches = read_vocabulary(paths.data_path(vocabulary))
    elif shop.has(f"nodes_{number}"):
        batches = iter(shop.stream(f"SELECT id FROM nodes_{number} ORDER BY row"))
    else:
        batches = (pa.record_batch({"id": np.arange(i, min(i + CHUNK, rows))}) for i in range(0, rows, CHUNK))
    with pq.ParquetWriter(path, (first := next(batches)).schema, compression=COMPRESSION) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
    return {"rows": rows, "attributes": [n for n in first.schema.names if n != "id"], **_facts(draft, path)}


def _facts(draft: Path, path: Path) -> dict[str, Any]:
    return {"path": str(path.relative_to(draft)), "bytes": path.stat().st_size, "sha256": hash_file(path)}
