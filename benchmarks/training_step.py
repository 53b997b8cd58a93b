"""A training step in full size: our ranker and optimiser against the plain ranker and default Adam, and against the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from benchmarks.harness import Apart, Figure, Side, Spread, alternate, ratios
from benchmarks.machine import copy_rate, product_rate
from benchmarks.plain_ranker import PlainRanker, plain_loss
from recap_exp.composition import compose
from recap_exp.config import ExperimentConfig
from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.model.ranker import Ranker, build_ranker
from recap_exp.training.objective import TaskObjective
from recap_exp.training.optimizer import build_optimizer
from recap_exp.training.seeds import keep_freed_memory, prepare_torch


@dataclass(frozen=True)
class Size:
    """Widths of the data and of the model, and how much is measured."""

    continuous: int = 2117
    binary: int = 59
    embedding: int = 200
    block: int = 1024
    mlp: int = 2048
    batch: int = 128
    steps: int = 2
    rounds: int = 15

    @property
    def overrides(self) -> list[str]:
        """The full-size recipe, as narrow as this size says."""
        block = f"{{output: {self.block}, aggregation: {self.block}, reduction_factor: null, input_layer_norm: false, activation: false}}"
        return [
            "experiment=original_local",
            f"model.backbone.blocks=[{', '.join([block] * 4)}]",
            f"model.backbone.mlp.layers=[{self.mlp}]",
        ]


QUICK = Size(continuous=20, binary=4, embedding=8, block=16, mlp=32, batch=8, steps=1, rounds=2)


def random_batch(size: Size, tasks: int) -> Batch:
    """One batch in memory: features uniform in [0, 1), labels 0/1."""
    return Batch(
        continuous_BC=torch.rand(size.batch, size.continuous),
        binary_BI=torch.randint(0, 2, (size.batch, size.binary)).float(),
        discrete_BJ=torch.empty(size.batch, 0, dtype=torch.int64),
        embeddings={name: torch.rand(size.batch, size.embedding) for name in ("user", "user_eng", "author")},
        labels_BT=torch.randint(0, 2, (size.batch, tasks)).float(),
    )


def our_ranker(cfg: ExperimentConfig, size: Size) -> Ranker:
    """The recipe's ranker."""
    blocks = {"continuous": ("continuous", size.continuous), "binary": ("binary", size.binary)}
    blocks |= {name: ("embedding", size.embedding) for name in ("user", "user_eng", "author")}
    schema = Schema(blocks={name: Block(kind=kind, columns=(name,), width=w, use=w) for name, (kind, w) in blocks.items()})  # type: ignore[arg-type]
    return build_ranker(cfg.model, schema, list(cfg.tasks))


def plain_ranker(cfg: ExperimentConfig, size: Size) -> PlainRanker:
    """The same network, written plainly."""
    dropouts = [cfg.model.towers.get(task, cfg.model.tower).dropout for task in cfg.tasks]
    return PlainRanker(size.continuous, size.binary, [size.embedding] * 3, dropouts, size.block, size.mlp)


def composed(size: Size) -> ExperimentConfig:
    """The recipe at this size."""
    cfg = compose("train", size.overrides)
    assert isinstance(cfg, ExperimentConfig)
    return cfg


def our_side(size: Size) -> Side:
    """Seconds a step, as the training loop makes it: this process is set up as for a run."""
    cfg = composed(size)
    prepare_torch(cfg.seed, cfg.trainer)
    batch, ranker = random_batch(size, len(cfg.tasks)), our_ranker(cfg, size).train()
    keep_freed_memory(ranker)
    optimizer = build_optimizer(cfg.optimizer, ranker.parameter_groups())
    objective = TaskObjective(ranker, cfg.trainer, dict.fromkeys(cfg.tasks, 1.0))
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step() -> None:
        optimizer.begin()
        loss, loss_T = objective(batch)
        assert torch.cat([loss[None], loss_T]).isfinite().all()
        loss.backward()
        optimizer.update(scaler)

    return _seconds_a_step(step, size.steps)


def plain_side(size: Size) -> Side:
    """Seconds a step of the plain ranker in a process with nothing set."""
    cfg = composed(size)
    torch.manual_seed(cfg.seed)
    batch, ranker = random_batch(size, len(cfg.tasks)), plain_ranker(cfg, size).train()
    optimizer = ranker.optimizer()

    def step() -> None:
        assert batch.labels_BT is not None
        optimizer.zero_grad()
        loss = plain_loss(ranker(batch.continuous_BC, batch.binary_BI, list(batch.embeddings.values())), batch.labels_BT)
        loss.backward()
        optimizer.step()

    return _seconds_a_step(step, size.steps)


def _seconds_a_step(step: Callable[[], None], steps: int) -> Side:
    def side() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - start) / steps

    return side


def measure(quick: bool) -> list[Figure]:
    """The step's ratio, and how near it comes to the machine's limit."""
    size = QUICK if quick else Size()
    parameters = sum(p.numel() for p in our_ranker(composed(size), size).parameters())
    rates: dict[str, list[float]] = {"product": [], "copy": []}

    def limit() -> float:
        """6 operations a parameter and row at the rate of a matrix product, 28 bytes a parameter (Adam's) at that of a copy."""
        rates["product"].append(product_rate(128 if quick else 2048))
        rates["copy"].append(copy_rate(4 if quick else 256))
        return 6 * parameters * size.batch / rates["product"][-1] + 28 * parameters / rates["copy"][-1]

    with ExitStack() as stack:
        ours, plain = (stack.enter_context(Apart(build, size)) for build in (our_side, plain_side))
        costs = alternate({"ours": ours, "plain": plain, "limit": limit}, size.rounds)
    return [
        Figure(
            name="training_step",
            ours=f"a training step, {parameters:,} parameters, batch {size.batch}",
            theirs="plain eager PyTorch, default Adam with a group a tower",
            value=ratios(costs["plain"], costs["ours"]),
            target=1.2,
            sides={name: Spread.of([1000 * c for c in cs]) for name, cs in costs.items()},
            costs="ms a step",
            rounds=size.rounds,
            details={
                "of_the_limit": ratios(costs["limit"], costs["ours"]).median,
                "product_gflop_per_s": max(rates["product"]) / 1e9,
                "copy_gb_per_s": max(rates["copy"]) / 1e9,
            },
        )
    ]
