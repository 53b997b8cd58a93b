"""One batch on the model's device: what the data room hands to everything above it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(kw_only=True)
class Batch:
    """B rows. Blocks of one kind stand side by side, in the schema's order."""

    continuous_BC: Tensor
    binary_BI: Tensor
    discrete_BJ: Tensor
    """int64."""
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    """Stored embeddings by block name, each [B, E]."""
    labels_BT: Tensor | None = None
    """float32 0/1 in the order of the task list; None where the data has no labels."""
    weights_BT: Tensor | None = None
    """float32 sampling weights; None where all are 1."""
    truths_BT: Tensor | None = None
    """float64 true probabilities, NaN for a task without; None where the data has none."""
    ids: dict[str, np.ndarray] = field(default_factory=dict)
    """[B] int64."""
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    """[B] numbers or str."""

    def __len__(self) -> int:
        return self.continuous_BC.shape[0]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        moved: dict[str, Any] = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in vars(self).items()}
        moved["embeddings"] = {name: tensor.to(device) for name, tensor in self.embeddings.items()}
        return Batch(**moved)
