"""Small graphs by plain values, and what they became."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import TypeAdapter

from recap_exp.data.graph.config import GraphConfig
from recap_exp.data.graph.graph import Graph
from recap_exp.paths import conf_dir

KEEP = dict.fromkeys(("repeats", "seen", "mirrors", "linked"), "keep")


def config(**fields: Any) -> GraphConfig:
    """A configuration by plain values, checked as that of a YAML file is."""
    return TypeAdapter(GraphConfig).validate_json(json.dumps({"kind": "graph", "name": "small", **fields}))


def stored(name: str) -> GraphConfig:
    """conf/data/NAME.yaml."""
    return TypeAdapter(GraphConfig).validate_json(json.dumps(yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())))


def edges_config(splits: dict[str, Any], relations: dict[str, tuple[str, str]] | None = None, **fields: Any) -> GraphConfig:
    """A graph of Parquet edges. `splits`: file names, or all that a split's files say. Rules keep everything unless they are given."""
    relations = relations or {"likes": ("user", "post"), "knows": ("user", "user")}
    named = {side for ends in relations.values() for side in ends}
    source = {key: fields.pop(key) for key in ("columns", "nodes", "by_time", "folder") if key in fields}
    files = {name: {"files": [split]} if isinstance(split, str) else split for name, split in splits.items()}
    given = {"entities": {entity: {} for entity in sorted(named, reverse=True)}, **KEEP, **fields}
    ends = {name: {"left": left, "right": right} for name, (left, right) in relations.items()}
    return config(source={"kind": "edges", "splits": files, **source}, relations=ends, **given)


def write_edges(path: Path, edges: list[tuple[Any, ...]], columns: tuple[str, ...] = ("lhs", "rel", "rhs"), **types: pa.DataType) -> Path:
    """The edges as Parquet, in row groups of 3."""
    made = {name: pa.array([e[i] for e in edges], types.get(name)) for i, name in enumerate(columns)}
    pq.write_table(pa.table(made), path, row_group_size=3)
    return path


def read(graph: Graph, split: str) -> list[tuple[int, int, int]]:
    """The edges of a split, in order."""
    return [tuple(e) for part in graph.edges(split) for e in np.stack([part.lhs, part.rel, part.rhs], axis=1).tolist()]


def rules(graph: Graph, split: str) -> dict[str, tuple[int, int]]:
    """What each rule found and dropped."""
    made = graph.manifest["made"]["splits"][split]
    return {rule: (made[rule]["found"], made[rule]["dropped"]) for rule in KEEP}
