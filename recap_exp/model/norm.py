"""Normalisations: BatchNorm as configured, and a LayerNorm whose eps may be 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recap_exp.model.config import BatchNormConfig


def batch_norm(width: int, config: BatchNormConfig) -> nn.BatchNorm1d:
    """BatchNorm over the batch of [B, width]; running = (1 - momentum) running + momentum batch."""
    return nn.BatchNorm1d(width, affine=config.affine, momentum=config.momentum)


class FiniteLayerNorm(nn.LayerNorm):
    """LayerNorm that is finite on every finite row, also with eps 0.

    y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimension. Where var + eps is 0 (a constant row, or
    one whose variance underflows) that is 0/0: there y = bias, and the gradient with respect to x is 0. It is 0 too where the deviation is
    so small (below 1e-11 in float32) that its third power, by which the gradient divides, underflows.
    """

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, width] to [B, width]."""
        if self.eps > 0:
            return super().forward(x_BD)
        return _LayerNormWithoutEps.apply(x_BD, self.weight, self.bias)


class _LayerNormWithoutEps(torch.autograd.Function):
    """torch's own kernels, with 1/deviation set to 0 where it, or in the backward pass its third power, is infinite."""

    @staticmethod
    def forward(ctx: Any, x_BD: Tensor, weight_D: Tensor, bias_D: Tensor) -> Tensor:
        y_BD, mean_B1, scale_B1 = torch.native_layer_norm(x_BD, weight_D.shape, weight_D, bias_D, 0.0)
        flat_B1 = scale_B1.isinf()
        steep_B1 = scale_B1 > torch.finfo(scale_B1.dtype).max ** 0.3
        ctx.save_for_backward(x_BD, weight_D, bias_D, mean_B1, scale_B1.masked_fill(steep_B1, 0.0))
        return torch.where(flat_B1, bias_D, y_BD)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        x_BD, weight_D, bias_D, mean_B1, scale_B1 = ctx.saved_tensors
        return torch.ops.aten.native_layer_norm_backward(
            grads[0].contiguous(), x_BD, weight_D.shape, mean_B1, scale_B1, weight_D, bias_D, list(ctx.needs_input_grad)
        )
