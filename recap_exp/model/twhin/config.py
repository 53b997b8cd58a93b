"""Configuration of TwHIN and its relatives. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from recap_exp.configclass import configclass

Operator = Literal["identity", "translation", "diagonal", "linear", "complex", "rotation"]
"""What a relation does to the query's vector x: x; x + t; d * x; A x; c * x in complex numbers; the same with |c| = 1."""
Comparator = Literal["dot", "cosine", "l1", "l2"]
"""How a moved query and a candidate are compared; distances count negative, so that more is always nearer."""

WITHOUT_RECIPROCAL: dict[str, tuple[str, ...]] = {
    "dot": ("identity", "translation", "diagonal", "linear", "complex", "rotation"),
    "cosine": ("identity", "rotation"),
    "l1": ("identity", "translation"),
    "l2": ("identity", "translation", "rotation"),
}
"""Operators that can be moved to the other side of the comparison, so that lefts are ranked without an operator of their own."""


@configclass
class NegativesConfig:
    """With what each edge's true end is compared, on either side. Candidates are of the right type and shared by a chunk of edges."""

    everything: bool = False
    """All entities of the type (1-vs-all): with the softmax and BCE losses; no other negatives then."""
    in_batch: int = 50
    """Ends of other edges of the group."""
    uniform: int = 50
    """Drawn uniformly from the table."""
    by_degree: int = 0
    """Drawn in proportion to degree ** exponent, degree of training edges."""
    exponent: float = 0.75
    group: Literal["type", "relation"] = "type"
    """Edges among which negatives are shared and in-batch ones are found: those with the same type on that side, or, the original's way,
    of the same relation."""
    chunk: int | None = None
    """Edges of a group that share their drawn negatives; null: all of them."""
    mask_true: bool = True
    """Candidates that make a true edge of the batch are no negatives."""
    mask_own: bool = True
    """The query's own node is no negative, as it is no candidate in evaluation."""

    def __post_init__(self) -> None:
        for key in ("in_batch", "uniform", "by_degree"):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"{key} must be at least 0, not {value}")
        if self.everything and (self.in_batch or self.uniform or self.by_degree):
            raise ValueError("everything=true leaves nothing to draw: in_batch, uniform and by_degree must be 0")
        if not self.everything and not (self.in_batch or self.uniform or self.by_degree):
            raise ValueError("one of everything, in_batch, uniform and by_degree must be set")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {self.chunk}")


@configclass
class BCELoss:
    """Binary cross-entropy on logits; a negative weighs 1/(negatives of its edge), so that both classes weigh the same.
    The mean is over the weights or, as the original's, over the number of logits."""

    kind: Literal["bce"] = "bce"
    mean_over: Literal["weights", "logits"] = "weights"


@configclass
class SoftmaxLoss:
    """-log of the true end's softmax among its negatives (all entities: 1-vs-all)."""

    kind: Literal["softmax"] = "softmax"
    label_smoothing: float = 0.0
    temperature: float = 1.0
    """Scores are divided by it."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), not {self.label_smoothing}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0, not {self.temperature}")


@configclass
class MarginLoss:
    """Mean over negatives of max(0, margin - true + negative)."""

    kind: Literal["margin"] = "margin"
    margin: float = 1.0


@configclass
class SelfAdversarialLoss:
    """RotatE's (arXiv 1902.10197, section 3.1): -log s(margin + true) - sum p log s(-margin - negative), p the softmax of temperature *
    negatives, which learns nothing itself. For distances, which count negative."""

    kind: Literal["self_adversarial"] = "self_adversarial"
    margin: float = 6.0
    temperature: float = 1.0


LinkLoss = Annotated[BCELoss | SoftmaxLoss | MarginLoss | SelfAdversarialLoss, Field(discriminator="kind")]


@configclass
class RegularisationConfig:
    """A penalty on the vectors of an edge, mean over edges: weight * sum |x|^p of left, operator's parameters and right."""

    weight: float
    p: Literal[2, 3] = 3
    """3: N3 of Lacroix et al. (arXiv 1806.07297), moduli where numbers are complex; 2: squared norm."""

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"weight must be at least 0, not {self.weight}")


@configclass
class TwhinConfig:
    """Entity tables, an operator a relation, a comparator, a loss."""

    kind: Literal["twhin"] = "twhin"
    name: str
    dim: int = 64
    """Of every table; a multiple of 4."""
    dtype: Literal["fp32", "fp16"] = "fp32"
    """Of the tables; everything else is fp32."""
    operator: Operator = "translation"
    """Every relation's, but for ..."""
    operators: dict[str, Operator] = field(default_factory=dict)
    """... the relations named here."""
    comparator: Comparator = "dot"
    moves: Literal["left", "right"] = "left"
    """The side that the operator moves. Left is the query (the paper). Right is the original's form, where a translation cancels out of
    any ranking of right nodes; not with reciprocal relations."""
    reciprocal: bool = True
    """Lefts are ranked by an operator of the relation's own reverse, which moves the right node; false: by the same operator."""
    bias: bool = True
    """A learned bias per entity, added to its score as a candidate."""
    dropout: float = 0.0
    """Of the moved query."""
    init_scale: float = 0.001
    """Tables start normal with this deviation."""
    operator_init: Literal["neutral", "uniform"] = "neutral"
    """neutral: operators start as the identity, with small noise; uniform: translations in [0, 1), as the original's."""
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    loss: LinkLoss = field(default_factory=SoftmaxLoss)
    regularisation: RegularisationConfig | None = None

    def __post_init__(self) -> None:
        if self.dim < 4 or self.dim % 4:
            raise ValueError(f"dim must be a multiple of 4, at least 4, not {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if not self.init_scale > 0:
            raise ValueError(f"init_scale must be > 0, not {self.init_scale}")
        if self.moves == "right" and (self.reciprocal or self.comparator != "dot"):
            raise ValueError("moves=right is the original's form: it needs reciprocal=false and comparator=dot")
        used = {self.operator, *self.operators.values()}
        if not self.reciprocal and (stuck := sorted(used - set(WITHOUT_RECIPROCAL[self.comparator]))):
            allowed = ", ".join(WITHOUT_RECIPROCAL[self.comparator])
            raise ValueError(f"operator {stuck[0]} with comparator {self.comparator} needs reciprocal=true (without: {allowed})")
        if self.negatives.everything and self.loss.kind not in ("softmax", "bce"):
            raise ValueError(f"negatives.everything needs loss.kind softmax or bce, not {self.loss.kind}")
