"""Plain multi-layer perceptron: a backbone of its own, the top of a MaskNet, and every tower."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from recap_exp.model.config import MLPConfig
from recap_exp.model.norm import batch_norm


def linear(in_width: int, out_width: int) -> nn.Linear:
    """x W^T + b with Xavier-uniform W (Glorot and Bengio 2010) and b = 0."""
    layer = nn.Linear(in_width, out_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dropout(x_BD: Tensor, p: float) -> Tensor:
    """Each value to 0 with probability p, else divided by 1 - p. [B, D] to [B, D].

    Each of several processes draws for the whole batch, from the same state, and takes its own rows: how many they are changes nothing.
    """
    processes = dist.get_world_size() if dist.is_initialized() else 1
    if processes == 1 or p == 0:
        return F.dropout(x_BD, p)
    rows, width = x_BD.shape
    drawn = F.dropout(torch.ones(processes * rows, width, dtype=x_BD.dtype, device=x_BD.device), p)
    return x_BD * drawn[dist.get_rank() * rows :][:rows]


class MLP(nn.Module):
    """Linear, [BatchNorm], ReLU, [Dropout] for all layers but the last; the last is Linear, with ReLU where asked.

    [B, in_width] to [B, width], width = layers[-1].
    """

    def __init__(self, in_width: int, config: MLPConfig) -> None:
        super().__init__()
        widths = [in_width, *config.layers]
        self.width = widths[-1]
        self.dropout = config.dropout
        self.final_activation = config.final_activation
        self.linears = nn.ModuleList(linear(a, b) for a, b in pairwise(widths))
        norm = config.batch_norm
        self.norms = nn.ModuleList([] if norm is None else [batch_norm(w, norm) for w in config.layers[:-1]])

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, in_width] to [B, width]."""
        for i, layer in enumerate(self.linears[:-1]):
            x_BD = layer(x_BD)
            if self.norms:
                x_BD = self.norms[i](x_BD)
            x_BD = F.relu(x_BD, inplace=True)
            if self.training:
                x_BD = dropout(x_BD, self.dropout)
        x_BD = self.linears[-1](x_BD)
        return F.relu(x_BD, inplace=True) if self.final_activation else x_BD
