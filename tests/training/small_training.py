"""A small ranker, batches from a seed, and a log that keeps what it is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.model.config import BatchNormConfig, InputConfig, MLPConfig, RankerConfig, TowerConfig
from recap_exp.model.ranker import Ranker, build_ranker
from recap_exp.training.checkpoint import Checkpoints
from recap_exp.training.config import LinearRamp, OptimizerConfig, TrainerConfig
from recap_exp.training.loop import FitResult, fit
from recap_exp.training.objective import TaskObjective
from recap_exp.training.optimizer import RankerOptimizer, build_optimizer

TASKS = ("like", "reply", "report")


class Log:
    """Metrics by step, as a tracker gets them."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.steps.setdefault(step, {}).update(values)

    def curve(self, name: str) -> dict[int, float]:
        return {step: values[name] for step, values in self.steps.items() if name in values}


def make_ranker(seed: int = 0, batch_norm: bool = True, dropout: float = 0.2, tasks: tuple[str, ...] = TASKS, hidden: int = 8) -> Ranker:
    torch.manual_seed(seed)
    norm = BatchNormConfig() if batch_norm else None
    tower = TowerConfig(layers=[6, 1], batch_norm=norm, dropout=dropout, affine_map=True)
    cfg = RankerConfig(
        name="test",
        input=InputConfig(batch_norm=BatchNormConfig(affine=True, momentum=0.01) if batch_norm else None),
        backbone=MLPConfig(layers=[hidden], final_activation=True),
        tower=tower,
    )
    blocks = {
        "continuous": Block(kind="continuous", columns=("c",), width=7, use=7),
        "binary": Block(kind="binary", columns=("b",), width=3, use=3),
    }
    return build_ranker(cfg, Schema(blocks=blocks, labels=tasks), tasks)


def make_batches(rows: int = 16, seed: int = 0, start: int = 0, tasks: int = len(TASKS)) -> Iterator[Batch]:
    """Endless; batch k is the same wherever one starts."""
    for k in itertools.count(start):
        rng = np.random.default_rng([seed, k])
        continuous = rng.normal(size=(rows, 7)).astype(np.float32)
        logits = continuous[:, :tasks] * 2
        yield Batch(
            continuous_BC=torch.from_numpy(continuous),
            binary_BI=torch.from_numpy(rng.integers(0, 2, (rows, 3)).astype(np.float32)),
            discrete_BJ=torch.zeros(rows, 0, dtype=torch.int64),
            labels_BT=torch.from_numpy((rng.random((rows, tasks)) < 1 / (1 + np.exp(-logits))).astype(np.float32)),
            weights_BT=torch.from_numpy(rng.uniform(0.5, 2, (rows, tasks)).astype(np.float32)),
        )


def make_optimizer(ranker: Ranker, rate: float = 1e-2, ramp: int = 3) -> RankerOptimizer:
    schedule = LinearRamp(rate=rate, ramp=ramp)
    return build_optimizer(OptimizerConfig(name="test", backbone=schedule, tower=schedule), ranker.parameter_groups())


def train(ranker: Ranker, folder, optimizer: RankerOptimizer | None = None, batches=None, log: Log | None = None, **kwargs) -> FitResult:
    """`fit` with everything it needs, the same dropout each time; keywords that are fields of TrainerConfig go there."""
    torch.manual_seed(1)
    known = TrainerConfig.__dataclass_fields__
    cfg = {"steps": 10, "batch_size": 16, "log_every": 1, **{k: v for k, v in kwargs.items() if k in known}}
    others = {k: v for k, v in kwargs.items() if k not in known}
    trainer = TrainerConfig(**cfg)
    return fit(
        ranker,
        batches if batches is not None else make_batches(),
        TaskObjective(ranker, trainer, {task: 1.0 for task in ranker.tasks}),
        optimizer or make_optimizer(ranker),
        trainer,
        tracker=log or Log(),
        checkpoints=folder if isinstance(folder, Checkpoints) else Checkpoints(folder),
        **{"progress": False, **others},
    )


def weights(ranker: Ranker) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in ranker.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
