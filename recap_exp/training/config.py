"""Configuration of the training room: optimiser groups, schedules, loop. Free of torch."""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from recap_exp.configclass import configclass


def _require(holds: bool, key: str, value: Any, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{key} must be {allowed}, not {'null' if value is None else value}")


def _require_rate(key: str, rate: float) -> None:
    _require(0 <= rate < float("inf"), key, rate, "a learning rate >= 0")


def _require_count(key: str, value: int | None, least: int = 1) -> None:
    """Nothing to require of None, which every optional count has a meaning for."""
    _require(value is None or value >= least, key, value, f"at least {least}")


@configclass
class Constant:
    """The rate itself."""

    kind: Literal["constant"] = "constant"
    rate: float

    def __post_init__(self) -> None:
        _require_rate("rate", self.rate)


@configclass
class LinearRamp:
    """From 0 at step 0 to `rate` at step `ramp`, then constant."""

    kind: Literal["linear_ramp"] = "linear_ramp"
    rate: float
    ramp: int

    def __post_init__(self) -> None:
        _require_rate("rate", self.rate)
        _require_count("ramp", self.ramp, least=0)


@configclass
class LinearRampCosine:
    """Linear ramp, then final + (rate - final) (1 + cos(pi (step - ramp) / (end - ramp))) / 2 until step `end`, then `final`."""

    kind: Literal["linear_ramp_cosine"] = "linear_ramp_cosine"
    rate: float
    ramp: int
    end: int
    """An absolute step, after the ramp."""
    final: float = 0.0

    def __post_init__(self) -> None:
        _require_rate("rate", self.rate)
        _require_rate("final", self.final)
        _require_count("ramp", self.ramp, least=0)
        _require(self.end > self.ramp, "end", self.end, f"a step after the ramp's last ({self.ramp})")


@configclass
class Piecewise:
    """rates[i] until boundaries[i]; at a boundary the next value holds. One rate more than boundaries."""

    kind: Literal["piecewise"] = "piecewise"
    boundaries: list[int]
    rates: list[float]

    def __post_init__(self) -> None:
        for rate in self.rates:
            _require_rate("rates", rate)
        increasing = all(a < b for a, b in pairwise([0, *self.boundaries]))
        _require(increasing, "boundaries", self.boundaries, "steps >= 1, each after the one before")
        _require(len(self.rates) == len(self.boundaries) + 1, "rates", self.rates, f"{len(self.boundaries) + 1}, one more than boundaries")


Schedule = Annotated[Constant | LinearRamp | LinearRampCosine | Piecewise, Field(discriminator="kind")]


@configclass
class OptimizerConfig:
    """Adam with one learning rate a tower (its affine map included) and one for everything else."""

    name: str
    betas: list[float] = field(default_factory=lambda: [0.95, 0.999])
    eps: float = 1e-7
    backbone: Schedule
    """Backbone, input transform, embeddings' LayerNorms, and whatever is no tower."""
    tower: Schedule | None = None
    """Every tower, but for those named in `towers`; null: every task must be named there."""
    towers: dict[str, Schedule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "betas", self.betas, "two numbers in [0, 1)")
        _require(self.eps > 0, "eps", self.eps, "> 0")


@configclass
class EarlyStoppingConfig:
    """Stop when `metric` has not improved by `min_delta` for `patience` evaluations; the best checkpoint is restored at the end."""

    metric: str = "val/auroc/mean"
    mode: Literal["max", "min"] = "max"
    patience: int = 3
    min_delta: float = 0.0
    stop: bool = True
    """False: train to the last step, and only restore the best checkpoint."""

    def __post_init__(self) -> None:
        _require_count("patience", self.patience)
        _require(self.min_delta >= 0, "min_delta", self.min_delta, ">= 0")


@configclass
class TrainerConfig:
    """The loop. Steps are updates; schedules count updates."""

    steps: int
    batch_size: int
    """Rows of a micro-batch, of all processes together; at least 2 for each, for BatchNorm has no statistics of one row."""
    accumulate: int = 1
    """Micro-batches per update; k of them equal one batch of k times the size, BatchNorm apart."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the ranker's matrix products; parameters, moments and losses stay fp32. fp16 scales its losses and needs cuda."""
    loss_reduction: Literal["mean", "sum", "min", "max", "median"] = "mean"
    """How the tasks' losses become one."""
    warm_start: str | None = None
    """A run id or checkpoint folder whose weights and optimiser start this run, step back to 0;
    a .safetensors or .npz file starts the weights alone."""
    checkpoint_every: int | None = None
    """Steps; null: at evaluations and at the end. The last step and a new best are always stored."""
    keep_checkpoints: int = 2
    """The newest so many stay, and the best beside them."""
    evaluate_every: int | None = None
    """Steps, and after the last one; null: the loop itself does not evaluate."""
    early_stopping: EarlyStoppingConfig | None = None
    log_every: int = 10
    log_norms: bool = False
    """Log the norms of gradient and parameters too."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    threads: int | None = None
    """CPU threads of each process; null: torch's own choice."""
    processes: int = 1
    """Processes that train together, each on its share of every batch; under torchrun its own number counts."""
    sharding: Literal["table_wise", "row_wise"] = "table_wise"
    """How embedding tables lie on the processes: each on one, or the rows of each spread over all."""
    reduce_batch_norm: bool = False
    """BatchNorm's statistics are those of the whole batch, as in one process, not of each process's share."""
    deterministic: bool = True
    """Only deterministic algorithms."""

    def __post_init__(self) -> None:
        for key in ("steps", "accumulate", "checkpoint_every", "keep_checkpoints", "evaluate_every", "log_every", "threads", "processes"):
            _require_count(key, getattr(self, key))
        _require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2 (BatchNorm has no statistics of one row)")
        _require(
            self.accumulate == 1 or self.loss_reduction in ("mean", "sum"),
            "loss_reduction",
            self.loss_reduction,
            "mean or sum where accumulate > 1 (which task is the extreme one is known only after the last micro-batch)",
        )
        _require(
            self.early_stopping is None or self.evaluate_every is not None,
            "evaluate_every",
            self.evaluate_every,
            "a number of steps, at which early_stopping watches its metric (early_stopping=null: none is watched)",
        )
        _require(not (self.precision == "fp16" and self.device == "cpu"), "precision", self.precision, "fp32 or bf16 on device cpu")
