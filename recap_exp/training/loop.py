"""The training loop: N updates, and what is told, evaluated and stored on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recap_exp.errors import CheckpointError, DataError
from recap_exp.model.base import Learned
from recap_exp.training import processes, seeds
from recap_exp.training.checkpoint import Checkpoints, TrainState, load_weights
from recap_exp.training.config import TrainerConfig
from recap_exp.training.early_stopping import EarlyStopping
from recap_exp.training.objective import Objective
from recap_exp.training.optimizer import Optimizer
from recap_exp.training.progress import Progress
from recap_exp.training.window import Losses, Pace

SYNCHRONOUS = ("cpu",)
"""Devices on which reading a number makes nobody wait."""


class MetricsLog(Protocol):
    """Whoever takes numbers by name at a step: a tracker."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Numbers by name `stage/metric[/task]`."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How training ended."""

    step: int
    """Updates made, those before a resume among them."""
    evaluated: bool = False
    """The watched partitions' metrics at `step` are logged."""
    best_step: int | None = None
    """Step of the best evaluation; None where early stopping is off or its metric was never a number."""
    best_value: float | None = None
    """The watched metric there."""
    restored: bool = False
    """The model holds the weights of `best_step`; False: of the last step, whatever it is worth."""
    stopped_early: bool = False
    examples: int = 0
    """Rows that this call trained on."""
    seconds: float
    """Of this call, evaluations and checkpoints among them."""
    notes: tuple[str, ...] = ()
    """What is to be said of it, a line each."""


def fit(
    model: Learned,
    batches: Iterator[Any],
    objective: Objective,
    optimizer: Optimizer,
    cfg: TrainerConfig,
    *,
    tracker: MetricsLog,
    checkpoints: Checkpoints,
    evaluate: Callable[[int], dict[str, float]] | None = None,
    evaluated: Callable[[int, Mapping[str, float]], None] | None = None,
    start: TrainState | None = None,
    progress: bool = True,
) -> FitResult:
    """Trains `model` in place, on the device where it lies, until cfg.steps updates are made or early stopping ends it.

    Every update takes cfg.accumulate batches. Every cfg.log_every steps it logs train/loss[/TASK] (means since the last time),
    lr/GROUP, perf/examples_per_s, and the norms if cfg.log_norms. A resumed run (`start` from `checkpoint.resume`, `batches` from
    start.micro_batches on) continues bit for bit. It ends in evaluation mode, with the best weights where early stopping is on.

    Several processes (`processes.joined`) each call it, with their share of every batch; the checkpoints are written by the first.

    objective: what a batch costs `model`. evaluate: step -> metrics by name, which are logged here. evaluated: told of them,
    once whatever the evaluation gives rise to is stored; an exception of it ends the training.

    Raises:
        RecapError: a loss is not finite; the weights are those before that update.
        ConfigError: early stopping watches a metric that `evaluate` does not give.
        DataError: `batches` ended, or `objective` can't learn from one.
    """
    began = time.perf_counter()
    seeds.keep_freed_memory(model)
    run = _Run(model, batches, objective, optimizer, cfg, tracker, checkpoints, start or TrainState())
    with Progress(run.step, cfg.steps, enabled=progress) as bar:
        while run.step < cfg.steps and not run.stopper.stopped:
            run.update(with_norms=cfg.log_norms and run.due(cfg.log_every, run.step + 1))
            bar.advance(run.step)
            if run.due(cfg.log_every):
                bar.show(run.step, *run.log())
            now = evaluate is not None and run.due(cfg.evaluate_every)
            improved = run.evaluate(evaluate) if evaluate and now else False
            if improved or run.stopper.stopped or run.due(cfg.checkpoint_every or (1 if now else cfg.steps)):
                run.save()
            if improved:
                checkpoints.mark_best(run.step)
            if evaluated and now:
                evaluated(run.step, run.metrics)
    restored = run.restore_best()
    model.eval()
    return FitResult(
        step=run.step,
        evaluated=evaluate is not None and cfg.evaluate_every is not None,
        best_step=run.stopper.best_step,
        best_value=run.stopper.best_value,
        restored=restored,
        stopped_early=run.stopper.stopped,
        examples=run.examples,
        seconds=time.perf_counter() - began,
    )


class _Run:
    """What one call of `fit` keeps between its steps."""

    def __init__(
        self,
        model: Learned,
        batches: Iterator[Any],
        objective: Objective,
        optimizer: Optimizer,
        cfg: TrainerConfig,
        tracker: MetricsLog,
        checkpoints: Checkpoints,
        start: TrainState,
    ) -> None:
        self.model, self.batches, self.objective, self.optimizer, self.cfg = model.train(), batches, objective, optimizer, cfg
        self.tracker, self.checkpoints = tracker, checkpoints
        self.step, self.micro_batches, self.examples = start.step, start.micro_batches, 0
        self.metrics: dict[str, float] = {}
        self.losses, self.pace = Losses(objective.names, start.window), Pace()
        self.stopper = EarlyStopping(cfg=cfg.early_stopping)
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=cfg.precision == "fp16")
        self.spoilt = torch.zeros((), device=self.device)
        checkpoints.sweep()
        if start.early_stopping:
            self.stopper.restore(start.early_stopping)
            if self.stopper.best_step == start.step:
                checkpoints.mark_best(start.step)  # the process may have died before it could
        if start.scaler:
            self.scaler.load_state_dict(start.scaler)
        if start.random:
            seeds.restore(start.random)

    def due(self, every: int | None, step: int | None = None) -> bool:
        """Every so many steps, and at the last; never where `every` is None."""
        step = self.step if step is None else step
        return every is not None and (step % every == 0 or step == self.cfg.steps)

    def update(self, with_norms: bool) -> None:
        """Forward and backward of the micro-batches, then one update; none if a loss is not finite."""
        self.step += 1
        self.optimizer.begin()
        row = sum(self._backward() for _ in range(self.cfg.accumulate)) / self.cfg.accumulate
        assert isinstance(row, Tensor)
        self.losses.add(row)
        self.optimizer.average()
        skip = None
        if self.device.type not in SYNCHRONOUS:
            # Looking would make this step wait for the device. So the device looks itself: from the first loss that is not finite on
            # it skips all updates, and whoever reads the losses next finds out.
            skip = self.spoilt.copy_(torch.maximum(self.spoilt, 1.0 - row.isfinite().all().float()))
        self.norms = self.optimizer.norms(self.scaler.get_scale()) if with_norms else {}
        self.optimizer.update(self.scaler, skip)

    def _backward(self) -> Tensor:
        """Adds one micro-batch's share to the gradients; [loss, the losses by name], detached.

        Looks at the losses first where nobody waits for that: an optimiser may update in the backward pass already.
        """
        batch = next(self.batches, None)
        if batch is None:
            raise DataError(f"step {self.step}: the training data ended after {self.micro_batches} batches; it should repeat without end")
        self.micro_batches += 1
        rows = self.objective.rows(batch)
        self.examples += rows
        self.pace.add(rows)
        try:
            loss, losses = self.objective(batch.to(self.device))
        except DataError as error:
            raise DataError(f"step {self.step}: {error}") from error
        row = torch.cat([loss[None], losses]).detach()
        if self.device.type in SYNCHRONOUS and not row.isfinite().all():
            self.losses.add(row)
            self._require_finite()
        self.scaler.scale(loss / self.cfg.accumulate).backward()
        return row

    def log(self) -> tuple[float, float]:
        """Tells what happened since the last log point; (mean loss, rows per second)."""
        self._require_finite()
        losses, pace = self.losses.take(), self.pace.take()
        lrs = {f"lr/{group}": lr for group, lr in self.optimizer.lrs(self.step - 1).items()}
        norms = {name: float(norm) for name, norm in self.norms.items()}
        self.tracker.metrics({**losses, **lrs, **norms, "perf/examples_per_s": pace}, self.step)
        return losses["train/loss"], pace

    def evaluate(self, evaluate: Callable[[int], dict[str, float]]) -> bool:
        """Evaluates and logs; True where this is the best evaluation so far."""
        self._require_finite()
        with self.pace.paused(), seeds.untouched():
            self.model.eval()
            self.metrics = evaluate(self.step)
            self.model.train()
        self.tracker.metrics(self.metrics, self.step)
        return self.stopper.update(self.step, self.metrics)

    def save(self) -> None:
        """Stores everything that a resumed run needs."""
        self._require_finite()
        state = TrainState(
            step=self.step,
            micro_batches=self.micro_batches,
            early_stopping=self.stopper.state(),
            window=self.losses.read(),
            scaler=self.scaler.state_dict(),
            random=seeds.capture(),
        )
        with self.pace.paused():
            self.checkpoints.save(self.model, self.optimizer, state)

    def restore_best(self) -> bool:
        """Puts the weights of the best evaluation back; False where there is none."""
        best = self.stopper.best_step
        if best is None:
            return False
        processes.broadcast()  # the first process has stored it by now
        if best != self.step:
            path = self.checkpoints.best()
            if path is None or path.name != self.checkpoints.path(best).name:
                raise CheckpointError(f"{self.checkpoints.path(best)}: the best checkpoint is gone, so it can't be restored")
            load_weights(path, self.model)
        return True

    def _require_finite(self) -> None:
        self.losses.require_finite(self.step, self.optimizer.lrs)
