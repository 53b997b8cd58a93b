"""The same training in one process and in several: what each process calls, and what the first one hands back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from small_training import Log, make_batches, make_optimizer, make_ranker, train, weights
from torch import Tensor

from recap_exp.data.batch import Batch
from recap_exp.errors import RecapError
from recap_exp.model.mlp import dropout
from recap_exp.model.norm import BatchNorm, reduce_batch_norm
from recap_exp.training import processes
from recap_exp.training.checkpoint import Checkpoints, resume
from recap_exp.training.config import EarlyStoppingConfig

ROWS, STEPS = 16, 6
CASES: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"loss_reduction": "sum"},
    "min": {"loss_reduction": "min"},
    "max": {"loss_reduction": "max"},
    "median": {"loss_reduction": "median"},
    "accumulated": {"accumulate": 2},
    "norms": {"log_norms": True},
    "plain": {"norm": False},
}
"""What the number of processes must not change."""


def share(rows: Tensor) -> Tensor:
    """This process's rows."""
    size = len(rows) // processes.count()
    return rows[processes.rank() * size :][:size]


def shares(batches: Iterator[Batch]) -> Iterator[Batch]:
    """This process's part of every batch."""
    for batch in batches:
        assert batch.labels_BT is not None and batch.weights_BT is not None
        yield replace(
            batch,
            continuous_BC=share(batch.continuous_BC),
            binary_BI=share(batch.binary_BI),
            discrete_BJ=share(batch.discrete_BJ),
            labels_BT=share(batch.labels_BT),
            weights_BT=share(batch.weights_BT),
        )


def trained(
    folder: Path, steps: int = STEPS, norm: bool = True, reduced: bool = True, go_on: bool = False, batches=None, **settings: Any
) -> dict[str, Any]:
    """Losses and weights after a training. norm: with BatchNorms. go_on: from the newest checkpoint in `folder`."""
    ranker, log = make_ranker(batch_norm=norm), Log()
    if reduced:
        reduce_batch_norm(ranker)
    optimizer = make_optimizer(ranker)
    newest = Checkpoints(folder).newest() if go_on else None
    start = resume(newest, ranker, optimizer) if newest else None
    stream = shares(batches or make_batches(ROWS, start=start.micro_batches if start else 0))
    fitted = train(ranker, folder, optimizer, stream, log, steps=steps, batch_size=ROWS, start=start, **settings)
    return {"log": log.steps, "weights": weights(ranker), "fitted": fitted}


def batch_norm() -> dict[str, Tensor]:
    """Of a reduced BatchNorm where one deviation is small beside its mean; in one process with float64."""
    torch.manual_seed(0)
    x_BD, y_BD = torch.randn(12, 5) * torch.tensor([1, 1e-2, 3, 1, 1]) + torch.tensor([0, 20, -5, 0, 1]), torch.randn(12, 5)
    dtype = torch.float64 if processes.count() == 1 else torch.float32
    norm = BatchNorm(5, affine=True, momentum=0.3, dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1, 6))
    reduce_batch_norm(norm)
    mine_BD = share(x_BD).to(dtype).clone().requires_grad_()
    out_BD = norm(mine_BD)
    ((out_BD - share(y_BD)) ** 2).mean().backward()
    assert mine_BD.grad is not None
    processes.average_gradients(norm.parameters())
    grads = {"weight": norm.weight.grad, "bias": norm.bias.grad, "x": mine_BD.grad / processes.count()}
    return {"out": out_BD.detach(), "running_mean": norm.running_mean, "running_var": norm.running_var, **grads}  # type: ignore[dict-item]


def stopped(folder: Path) -> dict[str, Any]:
    """Early stopping by what the first process finds, the best weights restored in all."""
    found = iter([0.5, 0.7, 0.6, 0.6, 0.6])
    watch = EarlyStoppingConfig(metric="val/auroc/mean", patience=2)
    evaluate = lambda step: processes.broadcast({"val/auroc/mean": next(found)} if processes.first() else None)  # noqa: E731
    return trained(folder, steps=30, evaluate=evaluate, evaluate_every=1, early_stopping=watch)


def not_finite(folder: Path) -> str:
    """What is said of a loss that is not finite in the last rows of the third batch alone."""

    def broken() -> Iterator[Batch]:
        for k, batch in enumerate(make_batches(ROWS)):
            if k == 2 and batch.weights_BT is not None:
                batch.weights_BT[-1] = float("inf")
            yield batch

    try:
        trained(folder, batches=broken())
    except RecapError as error:
        return str(error)
    return "nothing"


def trials(folder: str) -> dict[str, Any]:
    """All of them, in every process."""
    root = Path(folder)
    found: dict[str, Any] = {name: trained(root / name, **case) for name, case in CASES.items()}
    found["batch_norm"] = batch_norm()
    found["local"] = trained(root / "local", steps=1, reduced=False)
    found["stopped"] = stopped(root / "stopped")
    found["not finite"] = not_finite(root / "broken")
    trained(root / "half", steps=3)
    torch.manual_seed(0)
    found["dropout"] = dropout(share(torch.ones(ROWS, 3)), 0.4)
    found["gone on"] = trained(root / "other" / "half", go_on=True) if (root / "other").exists() else None
    return found


def failing() -> None:
    """The last process fails in the middle of the common work."""
    total = processes.averaged(torch.ones(1))
    if processes.rank() == processes.count() - 1:
        raise ZeroDivisionError("a bug")
    processes.averaged(total)
