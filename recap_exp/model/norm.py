"""Normalisations: BatchNorm as configured, of one process or of several, and a LayerNorm whose eps may be 0."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recap_exp.model.config import BatchNormConfig


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm over the batch of [B, width]; running = (1 - momentum) running + momentum batch, the variance without bias.

    In training, of several processes with equally many rows each: over the rows of all of them where `reduced`, else over the own ones.
    torch.nn.SyncBatchNorm does that on GPUs alone.
    """

    reduced = False

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, width] to [B, width]."""
        if not (self.reduced and self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x_BD)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        dtype, wide_BD = x_BD.dtype, x_BD.to(self.running_mean.dtype)  # statistics are never of lower precision
        # Moments about a value near the mean, which follows from them: squares of large values would swallow a small variance.
        near_D = _mean_of_all(wide_BD.detach().mean(dim=0))
        x_BD = wide_BD - near_D
        rest_D, square_D = _mean_of_all(torch.stack([x_BD.mean(dim=0), x_BD.square().mean(dim=0)]))
        var_D = square_D - rest_D.square()
        with torch.no_grad():
            rows = len(x_BD) * dist.get_world_size()
            self.running_mean.lerp_(near_D + rest_D, self.momentum)
            self.running_var.lerp_(var_D * (rows / (rows - 1)), self.momentum)
            self.num_batches_tracked += 1
        y_BD = (x_BD - rest_D) * torch.rsqrt(var_D + self.eps)
        return (y_BD * self.weight + self.bias if self.affine else y_BD).to(dtype)


class _Sum(torch.autograd.Function):
    """Over all processes; so is its gradient, for every process's loss depends on every summand."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def _mean_of_all(means: Tensor) -> Tensor:
    """The means of all processes' rows together, from those of each."""
    return _Sum.apply(means) / dist.get_world_size()  # type: ignore[no-any-return]


def batch_norm(width: int, config: BatchNormConfig) -> BatchNorm:
    """As configured; its statistics are those of the own process until `reduce_batch_norm`."""
    return BatchNorm(width, affine=config.affine, momentum=config.momentum)


def reduce_batch_norm(model: nn.Module) -> None:
    """From now on all BatchNorms of the model take the statistics of the whole batch, on however many processes it lies."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.reduced = True


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
