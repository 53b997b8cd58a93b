"""A small graph with two types of nodes, batches of it, and a training step, for tests of TwHIN."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pydantic import TypeAdapter

from recap_exp.data.graph.batches import EdgeBatch
from recap_exp.data.graph.graph import GraphSchema, Relation
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.training.config import Constant, TrainerConfig
from recap_exp.training.sparse.config import DenseOptimizerConfig, SparseOptimizerConfig, TableOptimizerConfig
from recap_exp.training.sparse.optimizer import SparseOptimizer, build_sparse_optimizer

SCHEMA = GraphSchema(
    entities={"user": 30, "post": 50},
    relations=(
        Relation("likes", "user", "post"),
        Relation("follows", "user", "user"),
        Relation("replies", "user", "post"),
        Relation("quotes", "post", "post"),
    ),
)


def made_batch(number: int = 0, size: int = 64, schema: GraphSchema = SCHEMA, relations: tuple[int, ...] | None = None) -> EdgeBatch:
    """Edges drawn at random, many of them with the same ends."""
    rng = np.random.default_rng([7, number])
    rel = rng.choice(len(schema.relations) if relations is None else np.array(relations), size)
    sizes = [[schema.entities[r.left], schema.entities[r.right]] for r in schema.relations]
    ends = [torch.tensor([rng.integers(sizes[r][side]) for r in rel]) for side in (0, 1)]
    return EdgeBatch(ends[0], torch.from_numpy(rel), ends[1], number)


def made_model(schema: GraphSchema = SCHEMA, seed: int = 0, device: str = "cpu", **settings: Any) -> Twhin:
    """dim 8, tables large enough to tell scores apart."""
    settings = {"name": "small", "dim": 8, "init_scale": 0.5, **settings}
    degrees = {name: np.arange(rows) for name, rows in schema.entities.items()}
    cfg = TypeAdapter(TwhinConfig).validate_json(json.dumps(settings))
    return Twhin(cfg, schema, seed, degrees, device=device)  # type: ignore[arg-type]


def made_optimizer(model: Twhin, rule: str = "adagrad", sharding: str = "table_wise", **rates: float) -> SparseOptimizer:
    """One rule for tables and operators, rate 0.1 but for the tables named."""
    tables = {name: TableOptimizerConfig(rule=rule, schedule=Constant(rate=rate)) for name, rate in rates.items()}  # type: ignore[arg-type]
    table = TableOptimizerConfig(rule=rule, schedule=Constant(rate=0.1))  # type: ignore[arg-type]
    dense = DenseOptimizerConfig(rule="adam" if rule == "adam" else "adagrad", schedule=Constant(rate=0.1))
    cfg = SparseOptimizerConfig(kind="sparse", name="made", table=table, tables=tables, operators=dense)
    trainer = TrainerConfig(steps=1, batch_size=2, device="cpu", sharding=sharding)  # type: ignore[arg-type]
    return build_sparse_optimizer(cfg, model, trainer)


def step(model: Twhin, optimizer: SparseOptimizer, batch: EdgeBatch) -> float:
    """One update; this process's loss before it."""
    optimizer.begin()
    loss = model(batch)
    loss.backward()
    optimizer.average()
    optimizer.update(torch.amp.GradScaler("cpu", enabled=False))
    return loss.item()


@contextmanager
def alone() -> Iterator[None]:
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
