"""What a batch costs: the loop's view of whatever is trained. Shape suffixes: B batch, T tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from recap_exp.errors import DataError
from recap_exp.model.base import Model
from recap_exp.model.loss import reduce_losses, task_losses
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.training.config import TrainerConfig
from recap_exp.training.processes import averaged, count

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Objective(Protocol):
    """Batch to the loss that is minimised, and what it is made of."""

    @property
    def names(self) -> Sequence[str]:
        """Of the losses beside it, in their order; they are logged as train/loss/NAME."""

    def rows(self, batch: Any) -> int:
        """Examples of the whole batch, in all processes that share it."""

    def __call__(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss [] and those by name [names], float32, on the model's device, of the whole batch in all processes that share it.

        Raises DataError for a batch that it can't learn from.
        """


class TaskObjective:
    """A ranker's: binary cross-entropy per task, reduced to one as cfg.loss_reduction says; products in cfg.precision."""

    def __init__(self, ranker: Model, cfg: TrainerConfig, pos_weights: Mapping[str, float]) -> None:
        self.ranker, self.cfg, self.names = ranker, cfg, tuple(pos_weights)
        self.device = ranker.device
        self.pos_weight_T = torch.tensor(list(pos_weights.values()), device=self.device)

    def rows(self, batch: Any) -> int:
        """Every process has an equal share of the batch's rows."""
        return len(batch) * count()

    def __call__(self, batch: Any) -> tuple[Tensor, Tensor]:
        """See `Objective`; `names` are the tasks, in the order of the labels' columns."""
        if batch.labels_BT is None:
            raise DataError("a training batch has no labels")
        with torch.autocast(self.device.type, AUTOCAST.get(self.cfg.precision), enabled=self.cfg.precision in AUTOCAST):
            logits_BT = self.ranker(batch)
        loss_T = averaged(task_losses(logits_BT.float(), batch.labels_BT, batch.weights_BT, self.pos_weight_T))
        return reduce_losses(loss_T, self.cfg.loss_reduction), loss_T


class LinkObjective:
    """A graph model's: its own loss of the batch's edges among their negatives."""

    names = ()

    def __init__(self, model: Twhin) -> None:
        self.model = model

    def rows(self, batch: Any) -> int:
        """Every process holds all edges of the batch, and takes its share of their losses."""
        return len(batch)

    def __call__(self, batch: Any) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        loss = averaged(self.model(batch))
        return loss, loss.new_empty(0)
