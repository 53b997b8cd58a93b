"""Losses of many tasks, and how they become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["mean", "sum", "min", "max", "median"]

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "min": torch.min,
    "max": torch.max,
    "median": torch.median,
}


def task_losses(logits_BT: Tensor, labels_BT: Tensor, weights_BT: Tensor | None = None, pos_weight_T: Tensor | None = None) -> Tensor:
    """Per task the mean over rows of w (pos_weight y softplus(-z) + (1 - y) softplus(z)), [T] float32.

    Divided by the number of rows, not by the weights' sum, as the original does.
    """
    loss_BT = F.binary_cross_entropy_with_logits(logits_BT.float(), labels_BT, weight=weights_BT, pos_weight=pos_weight_T, reduction="none")
    return loss_BT.mean(dim=0)


def reduce_losses(loss_T: Tensor, reduction: Reduction) -> Tensor:
    """The tasks' losses as one scalar. The median of an even number is the lower of the two in the middle."""
    return REDUCTIONS[reduction](loss_T)
