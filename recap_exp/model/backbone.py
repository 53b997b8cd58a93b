"""From a backbone's configuration to its module: [B, in_width] to [B, width]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recap_exp.model.config import BackboneConfig
from recap_exp.model.masknet import MaskNet
from recap_exp.model.mlp import MLP

Backbone = MaskNet | MLP

BACKBONES: dict[str, Callable[[int, Any], Backbone]] = {"masknet": MaskNet, "mlp": MLP}
"""By `kind`. Every module has its output's width as `width`."""


def build_backbone(in_width: int, config: BackboneConfig) -> Backbone:
    """The backbone of `config.kind` over features of `in_width`."""
    return BACKBONES[config.kind](in_width, config)
