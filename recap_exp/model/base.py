"""What every model is to the rest of the program, whatever it is made of. Shape suffixes: B batch, T tasks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from recap_exp.data.batch import Batch


class Learned(nn.Module):
    """Whatever is trained. All that was learned is in the state, as tensors: evaluation, checkpoints and serving need nothing else."""

    title: ClassVar[str]
    """What it is, in words."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Packages that it needs beside the program's own."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(chain(self.parameters(), self.buffers())).device

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Before a state with tensors of these shapes is read into the model: where a tensor's size is learned too, it takes that size."""


class Model(Learned):
    """Batch to logits [B, T]: rankers and the baselines beside them."""

    tasks: tuple[str, ...]
    """In the order of the logits' columns."""
    input_width: int
    """Features read."""

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T], on the model's device."""
        raise NotImplementedError
