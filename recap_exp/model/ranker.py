"""The Heavy Ranker and its relatives: input transform, backbone, one tower a task. This module only wires.

Shape suffixes: B batch, C continuous, I binary, E embedding, D features, H what a tower reads, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Schema
from recap_exp.errors import ConfigError
from recap_exp.model.backbone import Backbone, build_backbone
from recap_exp.model.base import Model
from recap_exp.model.blocks import inputs
from recap_exp.model.config import RankerConfig
from recap_exp.model.input import TRANSFORMS
from recap_exp.model.towers import Tower

BACKBONE = "backbone"
"""The parameter group of all that is no tower."""


def module_name(name: str) -> str:
    """A task's or block's name as torch admits it for a submodule: no dots, and no name that nn.ModuleDict has itself."""
    name = name.replace(".", "__")
    return f"{name}_" if hasattr(nn.ModuleDict, name) else name


def build_ranker(cfg: RankerConfig, schema: Schema, tasks: Sequence[str]) -> Ranker:
    """A freshly initialised ranker for data of this schema; on the current default device, from torch's random state."""
    return Ranker(cfg, schema, tasks)


class Ranker(Model):
    """Batch to logits [B, T], in the order of `tasks`.

    features [B, D]: transformed continuous and binary, then each embedding, LayerNormed, in the schema's order.
    Towers read backbone(features) (share_all), features (share_none), or features ++ backbone(features) (share_partial).
    """

    title = "ranker"

    def __init__(self, cfg: RankerConfig, schema: Schema, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        if BACKBONE in self.tasks or len({module_name(t) for t in self.tasks}) < len(self.tasks):
            raise ConfigError(f"tasks must differ (dots count as __), and none may be called '{BACKBONE}': {', '.join(self.tasks)}")
        self.sharing = cfg.sharing
        self.inputs = inputs(cfg, schema)
        self.input_width = self.inputs.width
        transform = TRANSFORMS[cfg.input.transform]
        dense = self.inputs.continuous + self.inputs.binary
        self.dense = transform(self.inputs.continuous, self.inputs.binary, cfg.input) if dense else None
        embeddings = self.inputs.embeddings
        self.embedding_names = list(embeddings)
        self.embedding_norms = nn.ModuleDict(
            {module_name(n): nn.LayerNorm(w) if cfg.input.embedding_layer_norm else nn.Identity() for n, w in embeddings.items()}
        )

        self.backbone: Backbone | None = None
        tower_width = self.input_width
        if cfg.sharing != "share_none":
            assert cfg.backbone is not None  # the config checks it
            self.backbone = build_backbone(self.input_width, cfg.backbone)
            tower_width = self.backbone.width + (self.input_width if cfg.sharing == "share_partial" else 0)
        self.towers = nn.ModuleDict({module_name(t): Tower(tower_width, cfg.towers.get(t, cfg.tower)) for t in self.tasks})

    def features(self, batch: Batch) -> Tensor:
        """[B, input_width] in the parameters' precision: what every backbone reads."""
        dtype = next(self.parameters()).dtype
        self.inputs.check(batch)
        parts = [] if self.dense is None else [self.dense(batch.continuous_BC.to(dtype), batch.binary_BI.to(dtype))]
        parts += [self.embedding_norms[module_name(n)](batch.embeddings[n].to(dtype)) for n in self.embedding_names]
        return torch.cat(parts, dim=1)

    def hidden(self, features_BD: Tensor) -> Tensor:
        """What every tower reads, [B, H]."""
        if self.backbone is None:
            return features_BD
        hidden_BH = self.backbone(features_BD)
        return hidden_BH if self.sharing == "share_all" else torch.cat([features_BD, hidden_BH], dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T]."""
        hidden_BH = self.hidden(self.features(batch))
        return torch.cat([tower(hidden_BH) for tower in self.towers.values()], dim=1)

    def tower(self, task: str) -> Tower:
        """The task's tower."""
        tower = self.towers[module_name(task)]
        assert isinstance(tower, Tower)
        return tower

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, each once: `backbone` (all that is no tower), then every task's tower with its affine map."""
        towers = {t: list(self.tower(t).parameters()) for t in self.tasks}
        in_towers = {p for group in towers.values() for p in group}
        return {BACKBONE: [p for p in self.parameters() if p not in in_towers], **towers}
