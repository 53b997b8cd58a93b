"""Which features of a batch a model reads. Shape suffixes: B batch, D features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Schema
from recap_exp.errors import ConfigError, DataError, nearest
from recap_exp.model.config import ModelConfig


def used_blocks(cfg: ModelConfig, schema: Schema) -> list[str]:
    """The blocks that the model reads, in the schema's order."""
    if cfg.blocks is None:
        return [name for name, block in schema.blocks.items() if block.kind != "discrete"]
    for name in cfg.blocks:
        if name not in schema.blocks:
            raise ConfigError(f"model.blocks: '{name}' is no block of the data ({', '.join(schema.blocks)}){nearest(name, schema.blocks)}")
        if schema.blocks[name].kind == "discrete":
            raise ConfigError(f"model.blocks: '{name}' is discrete, and no part of this model reads discrete blocks")
    return [name for name in schema.blocks if name in cfg.blocks]


@dataclass(frozen=True)
class Inputs:
    """Widths of what is read: continuous and binary blocks side by side, then each embedding, in the schema's order."""

    continuous: int
    binary: int
    embeddings: dict[str, int]

    @property
    def width(self) -> int:
        """All features, D."""
        return self.continuous + self.binary + sum(self.embeddings.values())

    def check(self, batch: Batch) -> None:
        """Raises DataError where the batch has other features."""
        for kind, tensor, width in (("continuous", batch.continuous_BC, self.continuous), ("binary", batch.binary_BI, self.binary)):
            if tensor.shape[1] != width:
                raise DataError(f"the batch has {tensor.shape[1]} {kind} features, the model was built for {width}")

    def side_by_side(self, batch: Batch) -> Tensor:
        """The features as they are, [B, D] float32."""
        self.check(batch)
        return torch.cat([batch.continuous_BC, batch.binary_BI, *(batch.embeddings[name] for name in self.embeddings)], dim=1)


def inputs(cfg: ModelConfig, schema: Schema) -> Inputs:
    """What a model of `cfg` reads of data of this schema. Raises ConfigError where that is nothing."""
    blocks = {name: schema.blocks[name] for name in used_blocks(cfg, schema)}
    found = Inputs(
        continuous=sum(b.use for b in blocks.values() if b.kind == "continuous"),
        binary=sum(b.use for b in blocks.values() if b.kind == "binary"),
        embeddings={name: b.use for name, b in blocks.items() if b.kind == "embedding"},
    )
    if not found.width:
        raise ConfigError(f"model.blocks: the model reads nothing; the data has the blocks {', '.join(schema.blocks) or '(none)'}")
    return found
