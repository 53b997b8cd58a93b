"""Edges a second in the training of embeddings: ours against a plain loop with the same edges and negatives."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.harness import Apart, Figure, Side, Spread, alternate, cpu_seconds, ratios
from benchmarks.plain_twhin import PlainTwhin
from recap_exp.data.graph.batches import EdgeBatch
from recap_exp.data.graph.graph import GraphSchema, Relation
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.training.config import Constant, TrainerConfig
from recap_exp.training.sparse.config import DenseOptimizerConfig, SparseOptimizerConfig, TableOptimizerConfig
from recap_exp.training.sparse.optimizer import build_sparse_optimizer

RATE = 0.1


@dataclass(frozen=True)
class Size:
    """Of the graph, the model and what is measured."""

    rows: int = 100_000
    relations: int = 3
    dim: int = 64
    negatives: int = 50
    """In-batch, and as many uniform, on either side."""
    batch: int = 10_000
    steps: int = 5
    rounds: int = 11


QUICK = Size(rows=50, dim=8, negatives=4, batch=40, steps=1, rounds=2)


def batches(size: Size) -> list[EdgeBatch]:
    """Edges whose ends are drawn with the popularity of real ones: row r in proportion to 1 / (r + 10)."""
    rng = np.random.default_rng(0)
    popularity = 1 / (np.arange(size.rows) + 10.0)
    ends = rng.choice(size.rows, (size.steps, 2, size.batch), p=popularity / popularity.sum())
    rel = rng.integers(size.relations, size=(size.steps, size.batch))
    return [
        EdgeBatch(torch.from_numpy(lhs), torch.from_numpy(rel_B), torch.from_numpy(rhs), number)
        for number, ((lhs, rhs), rel_B) in enumerate(zip(ends, rel, strict=True))
    ]


def our_model(size: Size, device: str = "meta") -> Twhin:
    """model=twhin of this size."""
    schema = GraphSchema({"left": size.rows, "right": size.rows}, tuple(Relation(f"r{i}", "left", "right") for i in range(size.relations)))
    cfg = TwhinConfig(name="twhin", dim=size.dim)
    cfg.negatives.in_batch = cfg.negatives.uniform = size.negatives
    return Twhin(cfg, schema, seed=0, device=device)  # type: ignore[arg-type]


def our_side(size: Size) -> Side:
    """CPU seconds an edge, as the training loop learns from it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    rule = TableOptimizerConfig(schedule=Constant(rate=RATE))
    operators = DenseOptimizerConfig(schedule=Constant(rate=RATE))
    model = our_model(size)
    cfg = SparseOptimizerConfig(kind="sparse", name="twhin", table=rule, operators=operators)
    optimizer = build_sparse_optimizer(cfg, model, TrainerConfig(steps=1, batch_size=size.batch, device="cpu"))
    drawn = batches(size)

    def learn() -> None:
        for batch in drawn:
            optimizer.begin()
            loss = model(batch)
            assert loss.isfinite()
            loss.backward()
            optimizer.average()
            optimizer.update()

    return lambda: cpu_seconds(learn) / (size.steps * size.batch)


def negatives_of(model: Twhin, batch: EdgeBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Those for left and for right ends."""
    found = {group.side: torch.from_numpy(group.candidates_CN[0]) for group in model.plan(batch).groups}
    return found["left"], found["right"]


def plain_side(size: Size) -> Side:
    """CPU seconds an edge of the plain loop; its negatives are drawn before."""
    warnings.filterwarnings("ignore", "Sparse invariant")
    model = PlainTwhin(size.rows, size.relations, size.dim)
    optimizers, drawer = model.optimizers(RATE), our_model(size)
    drawn = [(batch, *negatives_of(drawer, batch)) for batch in batches(size)]

    def learn() -> None:
        for batch, lefts_N, rights_N in drawn:
            loss = model(batch.lhs_B, batch.rel_B, batch.rhs_B, lefts_N, rights_N)
            assert loss.isfinite()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

    return lambda: cpu_seconds(learn) / (size.steps * size.batch)


def measure(quick: bool) -> list[Figure]:
    """Each side in a process of its own."""
    size = QUICK if quick else Size()
    with ExitStack() as stack:
        ours, plain = (stack.enter_context(Apart(build, size)) for build in (our_side, plain_side))
        costs = alternate({"ours": ours, "plain": plain}, size.rounds)
    return [
        Figure(
            name="twhin",
            ours=f"an edge, dim {size.dim}, {2 * size.negatives} negatives a side, {size.rows:,} rows a table, batches of {size.batch:,}",
            theirs="plain PyTorch over nn.Embedding(sparse=True), Adagrad, the same edges and negatives; CPU time",
            value=ratios(costs["plain"], costs["ours"]),
            target=2.0,
            sides={name: Spread.of([1e6 * c for c in cs]) for name, cs in costs.items()},
            costs="µs an edge",
            rounds=size.rounds,
            details={"edges_per_cpu_s": 1 / Spread.of(costs["ours"]).median},
        )
    ]
