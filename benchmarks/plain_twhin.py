"""TwHIN as one would first write it: a sparse nn.Embedding a table, a bias each, torch's sparse Adagrad, look-ups where a row is needed.

What the training rate of embeddings is measured against. With the same rows and negatives it computes the same losses (the tests hold it to
that). Shape suffixes: B edges, N negatives, D dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainTwhin(nn.Module):
    """Translation and dot product, an operator for each side, softmax among shared negatives; true edges of the batch are no negatives."""

    def __init__(self, rows: int, relations: int, dim: int) -> None:
        super().__init__()
        self.left, self.right = (nn.Embedding(rows, dim, sparse=True) for _ in range(2))
        self.left_bias, self.right_bias = (nn.Embedding(rows, 1, sparse=True) for _ in range(2))
        self.forward_t, self.reverse_t = (nn.Embedding(relations, dim) for _ in range(2))
        for table in (self.left, self.right, self.forward_t, self.reverse_t):
            nn.init.normal_(table.weight, std=0.001)
        for bias in (self.left_bias, self.right_bias):
            nn.init.zeros_(bias.weight)

    def forward(self, lhs_B: Tensor, rel_B: Tensor, rhs_B: Tensor, lefts_N: Tensor, rights_N: Tensor) -> Tensor:
        """Mean over edges and sides; lefts_N, rights_N: negatives for either side."""
        right = self._side(self.left(lhs_B) + self.forward_t(rel_B), self.right, self.right_bias, lhs_B, rel_B, rhs_B, rights_N)
        left = self._side(self.right(rhs_B) + self.reverse_t(rel_B), self.left, self.left_bias, rhs_B, rel_B, lhs_B, lefts_N)
        return (left + right) / 2

    def _side(
        self, query_BD: Tensor, table: nn.Embedding, bias: nn.Embedding, known_B: Tensor, rel_B: Tensor, end_B: Tensor, others_N: Tensor
    ) -> Tensor:
        true_B = (query_BD * table(end_B)).sum(1) + bias(end_B)[:, 0]
        others_BN = query_BD @ table(others_N).T + bias(others_N)[:, 0]
        rows = table.num_embeddings
        query_B1 = (rel_B * rows + known_B).unsqueeze(1) * rows
        edges = (query_B1[:, 0] + end_B).sort().values
        made_BN = query_B1 + others_N
        found_BN = edges[torch.searchsorted(edges, made_BN).clamp(max=len(edges) - 1)] == made_BN
        others_BN = others_BN.masked_fill(found_BN, float("-inf"))
        return (torch.cat([true_B.unsqueeze(1), others_BN], dim=1).logsumexp(1) - true_B).mean()

    def optimizers(self, rate: float) -> list[torch.optim.Optimizer]:
        """Adagrad for all."""
        return [torch.optim.Adagrad(self.parameters(), lr=rate, eps=1e-8)]
