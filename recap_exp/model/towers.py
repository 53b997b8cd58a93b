"""Towers: one MLP a task, from what the sharing type lets it read to a logit."""

from __future__ import annotations

from torch import Tensor, nn

from recap_exp.model.config import MLPConfig, TowerConfig
from recap_exp.model.mlp import MLP


class Tower(nn.Module):
    """MLP to one logit, then scale * logit + bias where there is an affine map (which starts as the identity). [B, H] to [B, 1]."""

    def __init__(self, in_width: int, config: TowerConfig) -> None:
        super().__init__()
        self.width = 1
        self.mlp = MLP(in_width, MLPConfig(layers=config.layers, batch_norm=config.batch_norm, dropout=config.dropout))
        self.affine: nn.Linear | None = None
        if config.affine_map:
            self.affine = nn.Linear(1, 1)
            nn.init.ones_(self.affine.weight)
            nn.init.zeros_(self.affine.bias)

    def forward(self, hidden_BH: Tensor) -> Tensor:
        """The task's logit, [B, 1]."""
        logit_B1 = self.mlp(hidden_BH)
        return logit_B1 if self.affine is None else self.affine(logit_B1)
