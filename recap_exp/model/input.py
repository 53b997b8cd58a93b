"""Input transforms: from a batch's blocks to the features that backbone and towers read.

Shape suffixes: B batch, C continuous, I binary, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recap_exp.model.config import InputConfig
from recap_exp.model.norm import FiniteLayerNorm, batch_norm


def log1p_abs(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|), elementwise; NaN and infinities count as 0."""
    x = x.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return x.abs().log1p_().copysign_(x)


class DoubleNormLog(nn.Module):
    """LayerNorm([clamp(BatchNorm(log1p_abs(continuous))), binary]): the original's transform of its dense features.

    [B, C] and [B, I] to [B, C + I].
    """

    def __init__(self, continuous: int, binary: int, config: InputConfig) -> None:
        super().__init__()
        self.width = continuous + binary
        self.clip = config.clip
        self.batch_norm = batch_norm(continuous, config.batch_norm) if config.batch_norm and continuous else None
        self.layer_norm = FiniteLayerNorm(self.width, eps=config.layer_norm_eps)

    def forward(self, continuous_BC: Tensor, binary_BI: Tensor) -> Tensor:
        """The transformed dense features, [B, C + I]."""
        x_BC = log1p_abs(continuous_BC)
        if self.batch_norm is not None:
            x_BC = self.batch_norm(x_BC)
        return self.layer_norm(torch.cat([x_BC.clamp(-self.clip, self.clip), binary_BI], dim=1))


TRANSFORMS = {"double_norm_log": DoubleNormLog}
"""By `InputConfig.transform`: (continuous width, binary width, config) to a module [B, C], [B, I] -> [B, width]."""
