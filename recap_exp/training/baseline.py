"""How a baseline is fitted: all training rows in memory, one task after the other. Shape suffixes: N rows, D features, T tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from recap_exp.data.batch import Batch
from recap_exp.errors import DataError
from recap_exp.model.baseline import Baseline
from recap_exp.model.loss import reduce_losses, task_losses
from recap_exp.training.checkpoint import Checkpoints, TrainState, load_weights
from recap_exp.training.config import TrainerConfig
from recap_exp.training.loop import FitResult, MetricsLog
from recap_exp.training.progress import LINE_EVERY

STEP = 1
"""A baseline's fit counts as one step: where its metrics stand, and what its checkpoint is called by."""


def fit_baseline(
    model: Baseline,
    rows: Callable[[], Iterator[Batch]],
    cfg: TrainerConfig,
    *,
    pos_weights: Mapping[str, float],
    seed: int,
    tracker: MetricsLog,
    checkpoints: Checkpoints,
    progress: bool = True,
) -> FitResult:
    """Fits every task of `model` on all rows, with the weights of the ranker's loss: the rows' own, times pos_weight where positive.

    rows: starts the training rows anew, in their order. They are held in memory once: rows x (features + tasks, twice where there are
    weights) x 4 bytes. LightGBM adds a byte a value, and while it bins 12 bytes for each value of up to 200,000 rows.
    Logs train/loss[/TASK], the ranker's loss over all rows. A run that was killed takes the model of its checkpoint, or else fits anew:
    the same seed and number of threads give the same model.

    Raises:
        DataError: the rows have no labels.
    """
    began = time.perf_counter()
    device = model.device
    notes: list[str] = []
    pos_weight_T = torch.tensor([pos_weights[task] for task in model.tasks])
    if newest := checkpoints.newest():
        load_weights(newest, model)
    else:
        model.cpu()  # where the libraries are
        features_ND, labels_NT, weights_NT = collect(model, rows(), pos_weight_T.numpy())
        fits = model.fit(features_ND, labels_NT, weights_NT, seed)
        for note in _shown(fits, len(model.tasks), progress):
            notes += [note] if note else []
        del features_ND, fits
        checkpoints.save(model.to(device), None, TrainState(step=STEP))
    model.eval()
    loss_T = mean_losses(model, rows(), pos_weight_T)
    by_task = {f"train/loss/{task}": float(loss) for task, loss in zip(model.tasks, loss_T, strict=True)}
    tracker.metrics({"train/loss": float(reduce_losses(loss_T, cfg.loss_reduction)), **by_task}, STEP)
    return FitResult(step=STEP, seconds=time.perf_counter() - began, notes=tuple(notes))


def collect(model: Baseline, batches: Iterator[Batch], pos_weight_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features [N, D], labels [N, T], and weights [N, T] or None where all are 1; float32."""
    features_ND = np.empty((0, model.inputs.width), np.float32)
    labels_NT, weights_NT = (np.empty((0, len(model.tasks)), np.float32) for _ in range(2))
    weighted = bool((pos_weight_T != 1).any())
    for batch in batches:
        if batch.labels_BT is None:
            raise DataError("a training batch has no labels")
        labels_BT = batch.labels_BT.numpy()
        _append(features_ND, model.inputs.side_by_side(batch).numpy())
        _append(labels_NT, labels_BT)
        if weighted or batch.weights_BT is not None:
            weight_BT = np.where(labels_BT > 0, pos_weight_T, np.float32(1))
            _append(weights_NT, weight_BT if batch.weights_BT is None else weight_BT * batch.weights_BT.numpy())
    return features_ND, labels_NT, weights_NT if len(weights_NT) else None


def mean_losses(model: Baseline, batches: Iterator[Batch], pos_weight_T: torch.Tensor) -> torch.Tensor:
    """Each task's loss (see `task_losses`) over all rows, [T] float64."""
    total_T, count = torch.zeros(len(model.tasks), dtype=torch.float64), 0
    with torch.inference_mode():
        for batch in batches:
            assert batch.labels_BT is not None
            logits_BT = model(batch.to(model.device)).cpu()
            total_T += len(batch) * task_losses(logits_BT, batch.labels_BT, batch.weights_BT, pos_weight_T).double()
            count += len(batch)
    return total_T / count


def _append(whole: np.ndarray, rows: np.ndarray) -> None:
    """Rows at the end of an array of its own. It grows where it lies: to join parts at the end would hold all rows twice."""
    begin = len(whole)
    whole.resize((begin + len(rows), whole.shape[1]), refcheck=False)
    whole[begin:] = rows


def _shown(fits: Iterator[str | None], tasks: int, progress: bool) -> Iterator[str | None]:
    """The same, under a bar in a terminal, and with a line now and then elsewhere."""
    terminal, line = sys.stderr.isatty(), time.monotonic()
    bar = track(fits, "fitting tasks", total=tasks, console=Console(stderr=True), transient=True, disable=not (progress and terminal))
    for done, note in enumerate(bar, 1):
        if progress and not terminal and time.monotonic() - line >= LINE_EVERY:
            line = time.monotonic()
            print(f"fitted {done} of {tasks} tasks", file=sys.stderr, flush=True)
        yield note
