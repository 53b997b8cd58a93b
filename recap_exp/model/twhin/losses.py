"""Losses of true ends among negatives. Shapes: E edges of a group, Q queries, N candidates.

Edges with the same query share its scores: what a query's negatives add up to is computed once, whatever the number of its edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recap_exp.model.twhin import config
from recap_exp.model.twhin.config import LinkLoss

MASKED = -1e30
"""Score of a candidate that is no negative: none of the losses, nor their gradients, see it."""


@dataclass
class Scores:
    """Scores of a group's edges. The matrix is for the loss to use up."""

    true_E: Tensor
    all_QN: Tensor
    """Of all candidates; MASKED where one is no negative."""
    count_Q: Tensor
    """Candidates that are not masked."""
    query_E: Tensor | None = None
    """Row of each edge's query; None: row i is edge i's."""
    own: bool = False
    """The true end is an unmasked candidate of its own query."""

    def of_edges(self, value_Q: Tensor) -> Tensor:
        """A value of each query, at its edges, [E, ...]."""
        return value_Q if self.query_E is None else value_Q.index_select(0, self.query_E)


class Loss:
    """Adds up over edges; the loss of a batch is the sum over both sides' groups, divided by the sum of `share`."""

    def __call__(self, scores: Scores) -> Tensor:
        """Sum over the edges, []."""
        raise NotImplementedError

    def share(self, edges: int, candidates: int) -> float:
        """What a group's edges count in the mean."""
        return edges


class BCE(Loss):
    """(softplus(-true) + mean over negatives of softplus(negative)) / 2, as config.BCELoss says."""

    def __init__(self, cfg: config.BCELoss) -> None:
        self.cfg = cfg

    def __call__(self, scores: Scores) -> Tensor:
        sum_E = scores.of_edges(F.softplus(scores.all_QN).sum(1))
        count_E = scores.of_edges(scores.count_Q)
        if scores.own:
            sum_E, count_E = sum_E - F.softplus(scores.true_E), count_E - 1
        return (F.softplus(-scores.true_E) + sum_E / count_E.clamp(min=1)).sum() / 2

    def share(self, edges: int, candidates: int) -> float:
        """An edge's true score is one logit for both of its sides."""
        return edges * (0.5 + candidates) if self.cfg.mean_over == "logits" else edges


class Softmax(Loss):
    """-log softmax of the true end among itself and the negatives, smoothed with their mean, as config.SoftmaxLoss says."""

    def __init__(self, cfg: config.SoftmaxLoss) -> None:
        self.cfg = cfg

    def __call__(self, scores: Scores) -> Tensor:
        smoothing, true_E = self.cfg.label_smoothing, scores.true_E / self.cfg.temperature
        if smoothing:
            seen_QN = scores.all_QN.masked_fill(scores.all_QN == MASKED, 0)
            sum_E, count_E = scores.of_edges(seen_QN.sum(1)) / self.cfg.temperature, scores.of_edges(scores.count_Q)
            mean_E = sum_E / count_E if scores.own else (sum_E + true_E) / (count_E + 1)
        total_E = scores.of_edges(_LogSumExp.apply(scores.all_QN, self.cfg.temperature))
        if not scores.own:
            total_E = torch.logaddexp(total_E, true_E)
        return (total_E - ((1 - smoothing) * true_E + smoothing * mean_E if smoothing else true_E)).sum()


class Margin(Loss):
    """mean over negatives of max(0, margin - true + negative)."""

    def __init__(self, cfg: config.MarginLoss) -> None:
        self.cfg = cfg

    def __call__(self, scores: Scores) -> Tensor:
        behind_EN = F.relu(scores.of_edges(scores.all_QN) - (scores.true_E - self.cfg.margin).unsqueeze(1))
        return (behind_EN.sum(1) / scores.of_edges(scores.count_Q).clamp(min=1)).sum()


class SelfAdversarial(Loss):
    """-log s(margin + true) - sum p log s(-margin - negative), p = softmax(temperature * negatives) without gradient."""

    def __init__(self, cfg: config.SelfAdversarialLoss) -> None:
        self.cfg = cfg

    def __call__(self, scores: Scores) -> Tensor:
        p_QN = torch.softmax(self.cfg.temperature * scores.all_QN.detach(), dim=1)
        negatives_Q = (p_QN * F.softplus(self.cfg.margin + scores.all_QN)).sum(1)
        return (F.softplus(-self.cfg.margin - scores.true_E) + scores.of_edges(negatives_Q)).sum()


LOSSES: dict[str, Callable[[Any], Loss]] = {"bce": BCE, "softmax": Softmax, "margin": Margin, "self_adversarial": SelfAdversarial}


def build_loss(cfg: LinkLoss) -> Loss:
    """The loss of this kind."""
    return LOSSES[cfg.kind](cfg)


class _LogSumExp(torch.autograd.Function):
    """log sum over a row of exp(x / temperature). Both passes work in x's own memory, which nobody may read any more."""

    @staticmethod
    def forward(ctx: Any, x_QN: Tensor, temperature: float) -> Tensor:  # type: ignore[override]
        x_QN = x_QN.detach()
        top_Q1 = x_QN.amax(1, keepdim=True)
        p_QN = x_QN.sub_(top_Q1).div_(temperature).exp_()
        sum_Q1 = p_QN.sum(1, keepdim=True)
        ctx.temperature = temperature
        ctx.save_for_backward(p_QN, sum_Q1)
        return (top_Q1 / temperature + sum_Q1.log()).squeeze(1)

    @staticmethod
    def backward(ctx: Any, gradient_Q: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        p_QN, sum_Q1 = ctx.saved_tensors
        return p_QN.mul_(gradient_Q.unsqueeze(1) / (sum_Q1 * ctx.temperature)), None
