"""Configuration of the model room. Free of torch. Defaults are the original Heavy Ranker's."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from recap_exp.configclass import configclass


@configclass
class BatchNormConfig:
    """BatchNorm1d over the batch."""

    affine: bool = False
    """Learnable weight and bias."""
    momentum: float = 0.1
    """Share of the newest batch in the running statistics."""

    def __post_init__(self) -> None:
        if not 0 < self.momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], not {self.momentum}")


@configclass
class InputConfig:
    """From blocks to the features every backbone reads, [batch, width]."""

    transform: Literal["double_norm_log"] = "double_norm_log"
    """Non-finite to 0, sign(x) log(1+|x|), BatchNorm, clamp, then LayerNorm over continuous and binary."""
    batch_norm: BatchNormConfig | None = field(default_factory=lambda: BatchNormConfig(affine=True, momentum=0.01))
    clip: float = 5.0
    """Bound of the continuous features after BatchNorm."""
    layer_norm_eps: float = 0.0
    """eps of the LayerNorm over continuous and binary; 0 is the original's and stays finite on constant rows here."""
    embedding_layer_norm: bool = True
    """Each stored embedding passes a LayerNorm of its own."""

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ValueError(f"clip must be > 0, not {self.clip}")
        if not self.layer_norm_eps >= 0:
            raise ValueError(f"layer_norm_eps must be >= 0, not {self.layer_norm_eps}")


def _check_layers(layers: list[int], dropout: float) -> None:
    if not layers or min(layers) < 1:
        raise ValueError(f"layers must be one or more widths of at least 1, not {layers}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), not {dropout}")


@configclass
class MLPConfig:
    """Linear, [BatchNorm], ReLU, [Dropout] for all layers but the last; the last is Linear, with ReLU where final_activation."""

    kind: Literal["mlp"] = "mlp"
    layers: list[int]
    """Output width of each layer."""
    batch_norm: BatchNormConfig | None = None
    dropout: float = 0.0
    final_activation: bool = False

    def __post_init__(self) -> None:
        _check_layers(self.layers, self.dropout)


@configclass
class MaskBlockConfig:
    """MaskBlock of arXiv 2102.07619: LayerNorm(Wh (u * mask(v)) + bh), mask(v) = W2 relu(W1 v + b1) + b2."""

    output: int
    aggregation: int | None = None
    """Rows of W1: either this ..."""
    reduction_factor: float | None = None
    """... or int(reduction_factor x width of v)."""
    input_layer_norm: bool = False
    activation: bool = False
    """ReLU after the block's LayerNorm, as in the paper; the original has none."""

    def __post_init__(self) -> None:
        if (self.aggregation is None) == (self.reduction_factor is None):
            both = f"aggregation={self.aggregation}, reduction_factor={self.reduction_factor}"
            raise ValueError(f"give one of aggregation and reduction_factor, not {both}")
        for name, value in (("output", self.output), ("aggregation", self.aggregation)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.reduction_factor is not None and not self.reduction_factor > 0:
            raise ValueError(f"reduction_factor must be > 0, not {self.reduction_factor}")

    def aggregation_of(self, mask_width: int) -> int:
        """Rows of W1 for a mask input of this width; at least 1."""
        if self.aggregation is not None:
            return self.aggregation
        return max(1, int(self.reduction_factor * mask_width))  # type: ignore[operator]


@configclass
class MaskNetConfig:
    """Mask blocks side by side (every block reads the features, outputs concatenated) or in series, and an optional MLP on top."""

    kind: Literal["masknet"] = "masknet"
    parallel: bool = True
    blocks: list[MaskBlockConfig]
    mlp: MLPConfig | None = None

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("blocks must name at least one mask block")


BackboneConfig = Annotated[MaskNetConfig | MLPConfig, Field(discriminator="kind")]


@configclass
class TowerConfig:
    """One task's MLP from backbone and/or features to a logit; its last layer must be 1 wide."""

    layers: list[int] = field(default_factory=lambda: [256, 128, 1])
    batch_norm: BatchNormConfig | None = field(default_factory=BatchNormConfig)
    dropout: float = 0.0
    affine_map: bool = False
    """A learnable scale and bias on the logit; they start as 1 and 0."""

    def __post_init__(self) -> None:
        _check_layers(self.layers, self.dropout)
        if self.layers[-1] != 1:
            raise ValueError(f"a tower's last layer must be 1 wide: layers={self.layers}")


def _check_blocks(blocks: list[str] | None) -> None:
    if blocks is not None and not blocks:
        raise ValueError("blocks must be null (all) or name at least one block")


@configclass
class RankerConfig:
    """The Heavy Ranker and its relatives: input transform, backbone, one tower a task."""

    kind: Literal["ranker"] = "ranker"
    name: str
    input: InputConfig = field(default_factory=InputConfig)
    blocks: list[str] | None = None
    """Data blocks that the model reads; null: all continuous, binary and embedding blocks."""
    sharing: Literal["share_all", "share_none", "share_partial"] = "share_all"
    """Towers read the backbone; the features (`backbone` is not built, whatever it says); features ++ backbone."""
    backbone: BackboneConfig | None
    tower: TowerConfig = field(default_factory=TowerConfig)
    """Every task's tower, but for ..."""
    towers: dict[str, TowerConfig] = field(default_factory=dict)
    """... the tasks named here."""

    def __post_init__(self) -> None:
        if self.backbone is None and self.sharing != "share_none":
            raise ValueError(f"backbone must be given for sharing={self.sharing}; without one use sharing=share_none")
        _check_blocks(self.blocks)


@configclass
class LogisticRegressionConfig:
    """A baseline: scikit-learn's logistic regression, one a task, on standardised features."""

    kind: Literal["logistic_regression"] = "logistic_regression"
    name: str
    blocks: list[str] | None = None
    """Data blocks that the model reads; null: all continuous, binary and embedding blocks."""
    clip: float = 5.0
    """Bound of the continuous features once they are standardised, as the ranker's."""
    C: float = 0.001
    """Inverse strength of the L2 penalty: C (sum over rows of weight x log loss) + |w|^2 / 2 is minimised; the bias is free."""
    max_iter: int = 1000

    def __post_init__(self) -> None:
        _check_blocks(self.blocks)
        for name, value in (("clip", self.clip), ("C", self.C)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number > 0, not {value}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, not {self.max_iter}")


@configclass
class LightGBMConfig:
    """A baseline: LightGBM's boosted trees on log loss, one model a task, on the features as they are."""

    kind: Literal["lightgbm"] = "lightgbm"
    name: str
    blocks: list[str] | None = None
    """Data blocks that the model reads; null: all continuous, binary and embedding blocks."""
    trees: int = 150
    leaves: int = 7
    """At most, of each tree."""
    rate: float = 0.1
    """Shrinkage: what a tree adds is multiplied by it."""
    min_rows: int = 100
    """Training rows that a leaf must hold."""
    l2: float = 30.0
    """Penalty on the leaves' values."""
    feature_share: float = 0.3
    """Share of the features that each tree may use, drawn from the run's seed."""

    def __post_init__(self) -> None:
        _check_blocks(self.blocks)
        for name, count, least in (("trees", self.trees, 1), ("leaves", self.leaves, 2), ("min_rows", self.min_rows, 1)):
            if count < least:
                raise ValueError(f"{name} must be at least {least}, not {count}")
        for name, share in (("rate", self.rate), ("feature_share", self.feature_share)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must be in (0, 1], not {share}")
        if not 0 <= self.l2 < float("inf"):
            raise ValueError(f"l2 must be a number >= 0, not {self.l2}")


def _kind(model: Any) -> str | None:
    """A run that was stored before there were other kinds names none: it is a ranker."""
    return model.get("kind", "ranker") if isinstance(model, dict) else getattr(model, "kind", None)


ModelConfig = Annotated[
    Annotated[RankerConfig, Tag("ranker")]
    | Annotated[LogisticRegressionConfig, Tag("logistic_regression")]
    | Annotated[LightGBMConfig, Tag("lightgbm")],
    Discriminator(_kind),
]
