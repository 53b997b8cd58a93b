"""Configuration of the training room: optimiser groups, schedules, loop. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from recap_exp.configclass import configclass


@configclass
class Constant:
    """The rate itself."""

    kind: Literal["constant"] = "constant"
    rate: float


@configclass
class LinearRamp:
    """From 0 at step 0 to `rate` at step `ramp`, then constant."""

    kind: Literal["linear_ramp"] = "linear_ramp"
    rate: float
    ramp: int


@configclass
class LinearRampCosine:
    """Linear ramp, then final + (rate - final) (1 + cos(pi (step - ramp) / (end - ramp))) / 2 until step `end`, then `final`."""

    kind: Literal["linear_ramp_cosine"] = "linear_ramp_cosine"
    rate: float
    ramp: int
    end: int
    """An absolute step."""
    final: float = 0.0


@configclass
class Piecewise:
    """rates[i] until boundaries[i]; at a boundary the next value holds. One rate more than boundaries."""

    kind: Literal["piecewise"] = "piecewise"
    boundaries: list[int]
    rates: list[float]


Schedule = Annotated[Constant | LinearRamp | LinearRampCosine | Piecewise, Field(discriminator="kind")]


@configclass
class OptimizerConfig:
    """Adam with one learning rate a tower (its affine map included) and one for everything else."""

    betas: list[float] = field(default_factory=lambda: [0.95, 0.999])
    eps: float = 1e-7
    backbone: Schedule
    """Backbone, input transform, embeddings' LayerNorms, and whatever is no tower."""
    tower: Schedule | None = None
    """Every tower, but for those named in `towers`; null: every task must be named there."""
    towers: dict[str, Schedule] = field(default_factory=dict)


@configclass
class EarlyStoppingConfig:
    """Stop when `metric` has not improved by `min_delta` for `patience` evaluations."""

    metric: str = "val/auroc/mean"
    mode: Literal["max", "min"] = "max"
    patience: int = 3
    min_delta: float = 0.0
    stop: bool = True
    """False: train to the last step, and only restore the best checkpoint."""


@configclass
class TrainerConfig:
    """The loop. Steps are updates; schedules count updates."""

    steps: int
    batch_size: int
    accumulate: int = 1
    """Micro-batches per update; k of them equal one batch of k times the size, BatchNorm apart."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    loss_reduction: Literal["mean", "sum", "min", "max", "median"] = "mean"
    """How the tasks' losses become one."""
    warm_start: str | None = None
    """A run id or checkpoint folder whose weights and optimiser start this run, step back to 0;
    a .safetensors file starts the weights alone."""
    checkpoint_every: int | None = None
    """Steps; null: at evaluations and at the end."""
    keep_checkpoints: int = 2
    """The newest so many stay, and the best beside them."""
    evaluate_every: int | None = None
    """Steps; null: only at the end."""
    early_stopping: EarlyStoppingConfig | None = None
    log_every: int = 10
    log_norms: bool = False
    """Log the norms of gradient and parameters too."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    """CPU threads; null: torch's own choice."""
    deterministic: bool = True
    """Only deterministic algorithms."""
