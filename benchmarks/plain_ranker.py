"""The Heavy Ranker as one would first write it: plain eager PyTorch, a module a layer, a loss a task, default Adam with a group a tower.

What the training step is measured against. With the same weights it computes the same losses (the tests hold it to that).
Shape suffixes: B batch, C continuous, I binary, E embedding, D features, H what a tower reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """MaskBlock: LayerNorm(Wh (x * mask) + bh), mask = W2 relu(W1 x + b1) + b2."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.mask = nn.Sequential(nn.Linear(in_width, width), nn.ReLU(), nn.Linear(width, in_width))
        self.hidden = nn.Linear(in_width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, D] to [B, width]."""
        return self.norm(self.hidden(x_BD * self.mask(x_BD)))


class PlainRanker(nn.Module):
    """Double norm log, an embedding's LayerNorm each, four parallel mask blocks, an MLP of one layer, a tower a task."""

    def __init__(
        self, continuous: int, binary: int, embeddings: Sequence[int], dropouts: Sequence[float], block: int = 1024, mlp: int = 2048
    ) -> None:
        super().__init__()
        self.batch_norm = nn.BatchNorm1d(continuous, momentum=0.01)
        self.layer_norm = nn.LayerNorm(continuous + binary, eps=0.0)
        self.embedding_norms = nn.ModuleList(nn.LayerNorm(width) for width in embeddings)
        in_width = continuous + binary + sum(embeddings)
        self.blocks = nn.ModuleList(PlainBlock(in_width, block) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(4 * block, mlp), nn.ReLU())
        self.towers = nn.ModuleList(_tower(mlp, dropout) for dropout in dropouts)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, continuous_BC: Tensor, binary_BI: Tensor, embeddings_BE: Sequence[Tensor]) -> list[Tensor]:
        """One logit [B, 1] a task."""
        x_BC = torch.where(torch.isfinite(continuous_BC), continuous_BC, 0.0)
        x_BC = torch.sign(x_BC) * torch.log(1 + torch.abs(x_BC))
        x_BC = torch.clamp(self.batch_norm(x_BC), -5, 5)
        dense = self.layer_norm(torch.cat([x_BC, binary_BI], dim=1))
        normed = [norm(e_BE) for norm, e_BE in zip(self.embedding_norms, embeddings_BE, strict=True)]
        x_BD = torch.cat([dense, *normed], dim=1)
        hidden_BH = self.mlp(torch.cat([block(x_BD) for block in self.blocks], dim=1))
        return [tower(hidden_BH) for tower in self.towers]

    def optimizer(self) -> torch.optim.Adam:
        """torch's Adam as it is by default, with one group for the backbone and one a tower."""
        backbone = [p for name, p in self.named_parameters() if not name.startswith("towers.")]
        groups = [{"params": backbone}, *({"params": list(tower.parameters())} for tower in self.towers)]
        return torch.optim.Adam(groups, lr=1e-4, betas=(0.95, 0.999), eps=1e-7)


def _tower(in_width: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((in_width, 256), (256, 128)):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b, affine=False), nn.ReLU()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*layers, nn.Linear(128, 1))


def plain_loss(logits_B1: Sequence[Tensor], labels_BT: Tensor) -> Tensor:
    """The mean of the tasks' binary cross entropies."""
    losses = [F.binary_cross_entropy_with_logits(logit_B1[:, 0], labels_BT[:, t]) for t, logit_B1 in enumerate(logits_B1)]
    return torch.stack(losses).mean()
