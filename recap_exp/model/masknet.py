"""MaskNet (Wang, She, Zhang 2021, arXiv 2102.07619): features gated by masks that are computed from the features.

Shape suffixes: B batch, D block input, V mask input, A aggregation, O block output, H backbone output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recap_exp.model.config import MaskBlockConfig, MaskNetConfig
from recap_exp.model.mlp import MLP, linear


class MaskBlock(nn.Module):
    """LayerNorm(Wh (u * mask) + bh), mask = W2 relu(W1 v + b1) + b2, u LayerNormed first and the result through ReLU where asked."""

    def __init__(self, in_width: int, mask_width: int, config: MaskBlockConfig) -> None:
        super().__init__()
        self.width = config.output
        self.activation = config.activation
        aggregation = config.aggregation_of(mask_width)
        self.input_norm = nn.LayerNorm(in_width) if config.input_layer_norm else None
        self.aggregate = linear(mask_width, aggregation)
        self.project = linear(aggregation, in_width)
        self.hidden = linear(in_width, config.output)
        self.norm = nn.LayerNorm(config.output)

    def forward(self, u_BD: Tensor, v_BV: Tensor) -> Tensor:
        """Block input [B, D] and mask input [B, V] to [B, O]."""
        mask_BD = self.project(F.relu(self.aggregate(v_BV), inplace=True))
        if self.input_norm is not None:
            u_BD = self.input_norm(u_BD)
        hidden_BO = self.norm(self.hidden(u_BD * mask_BD))
        return F.relu(hidden_BO, inplace=True) if self.activation else hidden_BO


class MaskNet(nn.Module):
    """Parallel: every block reads the features as u and v, outputs side by side. Serial: block k reads block k-1's
    output as u and the features as v. An MLP on top where asked. [B, in_width] to [B, width]."""

    def __init__(self, in_width: int, config: MaskNetConfig) -> None:
        super().__init__()
        self.parallel = config.parallel
        self.blocks = nn.ModuleList()
        width = in_width
        for block in config.blocks:
            self.blocks.append(MaskBlock(in_width if config.parallel else width, in_width, block))
            width = block.output
        if config.parallel:
            width = sum(block.output for block in config.blocks)
        self.mlp = MLP(width, config.mlp) if config.mlp else None
        self.width = self.mlp.width if self.mlp else width

    def forward(self, x_BD: Tensor) -> Tensor:
        """Features [B, in_width] to [B, width]."""
        if self.parallel:
            hidden_BH = torch.cat([block(x_BD, x_BD) for block in self.blocks], dim=1)
        else:
            hidden_BH = x_BD
            for block in self.blocks:
                hidden_BH = block(hidden_BH, x_BD)
        return hidden_BH if self.mlp is None else self.mlp(hidden_BH)
