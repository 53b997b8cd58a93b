"""Losses against their formulas, edge by edge and negative by negative, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.model.twhin.config import BCELoss, MarginLoss, SelfAdversarialLoss, SoftmaxLoss
from recap_exp.model.twhin.losses import MASKED, Scores, build_loss


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0)


def bce(true, negatives):
    mean = sum(map(softplus, negatives)) / len(negatives) if negatives else 0
    return (softplus(-true) + mean) / 2


def softmax(smoothing, temperature):
    def loss(true, negatives):
        scores = [x / temperature for x in (true, *negatives)]
        total = math.log(sum(map(math.exp, scores)))
        return sum(((1 - smoothing) * (i == 0) + smoothing / len(scores)) * (total - x) for i, x in enumerate(scores))

    return loss


def margin(true, negatives):
    return sum(max(0, 0.7 - true + x) for x in negatives) / max(1, len(negatives))


def self_adversarial(true, negatives):
    powers = [math.exp(0.5 * x) for x in negatives]
    return softplus(-2 - true) + sum(p / sum(powers) * softplus(2 + x) for p, x in zip(powers, negatives, strict=True))


LOSSES = {
    "bce": (BCELoss(), bce),
    "softmax": (SoftmaxLoss(), softmax(0, 1)),
    "smoothed": (SoftmaxLoss(label_smoothing=0.2, temperature=0.5), softmax(0.2, 0.5)),
    "margin": (MarginLoss(margin=0.7), margin),
    "self_adversarial": (SelfAdversarialLoss(margin=2, temperature=0.5), self_adversarial),
}


@st.composite
def scored(draw):
    """Scores of some edges that share queries; some candidates masked, all of a row too."""
    queries, candidates, edges = (draw(st.integers(1, most)) for most in (4, 5, 7))
    number = st.floats(-4, 4).map(lambda x: round(x, 2))
    all_QN = torch.tensor(draw(st.lists(st.lists(number, min_size=candidates, max_size=candidates), min_size=queries, max_size=queries)))
    masked_QN = torch.tensor(
        draw(st.lists(st.lists(st.booleans(), min_size=candidates, max_size=candidates), min_size=queries, max_size=queries))
    )
    true_E = torch.tensor(draw(st.lists(number, min_size=edges, max_size=edges)))
    query_E = torch.tensor(draw(st.lists(st.integers(0, queries - 1), min_size=edges, max_size=edges)))
    return true_E.double(), all_QN.double(), masked_QN, query_E


def shared(true_E, all_QN, masked_QN, query_E):
    return Scores(true_E, all_QN.masked_fill(masked_QN, MASKED), (~masked_QN).sum(1), query_E)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=40, deadline=None)
@given(case=scored())
def test_a_loss_is_its_formula(name, case):
    true_E, all_QN, masked_QN, query_E = case
    cfg, formula = LOSSES[name]
    rows = [all_QN[q][~masked_QN[q]].tolist() for q in query_E]
    expected = sum(formula(true, row) for true, row in zip(true_E.tolist(), rows, strict=True))
    assert build_loss(cfg)(shared(*case)).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=15, deadline=None)
@given(case=scored())
def test_gradients_are_differences_of_the_loss(name, case):
    true_E, all_QN, masked_QN, query_E = case
    loss = build_loss(LOSSES[name][0])
    if name == "margin":
        behind = all_QN[query_E] - true_E.unsqueeze(1) + 0.7
        all_QN = torch.where((behind.abs() < 1e-3).any(), all_QN + 0.0051, all_QN)
    true_E, all_QN = true_E.requires_grad_(), all_QN.requires_grad_()
    by_true, by_all = torch.autograd.grad(loss(shared(true_E, all_QN, masked_QN, query_E)), (true_E, all_QN), allow_unused=True)
    assert (by_all[masked_QN] == 0).all(), "a candidate that is no negative learns nothing"
    with torch.no_grad():
        weights = torch.softmax(0.5 * all_QN.masked_fill(masked_QN, MASKED), 1)  # of self_adversarial: constants of its gradient
        for values, gradient in ((true_E, by_true), (all_QN, by_all)):
            for i in range(values.numel()):
                sides = []
                for h in (1e-5, -1e-5):
                    moved = values.clone()
                    moved.view(-1)[i] += h
                    now = (moved, all_QN) if values is true_E else (true_E, moved)
                    if name == "self_adversarial":
                        kept = torch.nn.functional.softplus(2 + now[1].masked_fill(masked_QN, MASKED))
                        sides.append((torch.nn.functional.softplus(-2 - now[0]) + (weights * kept).sum(1)[query_E]).sum())
                    else:
                        sides.append(loss(shared(*now, masked_QN, query_E)))
                assert gradient.view(-1)[i].item() == pytest.approx(((sides[0] - sides[1]) / 2e-5).item(), abs=1e-6)


@pytest.mark.parametrize("name", ["bce", "softmax", "smoothed"])
@settings(max_examples=20, deadline=None)
@given(case=scored())
def test_a_true_end_among_the_candidates_is_not_its_own_negative(name, case):
    _, all_QN, _, query_E = case
    none = torch.zeros_like(all_QN, dtype=torch.bool)
    place_E = torch.arange(len(query_E)) % all_QN.shape[1]
    true_E = all_QN[query_E, place_E]
    cfg, formula = LOSSES[name]
    others = [[x for j, x in enumerate(all_QN[q].tolist()) if j != p] for q, p in zip(query_E.tolist(), place_E.tolist(), strict=True)]
    expected = sum(formula(true, row) for true, row in zip(true_E.tolist(), others, strict=True))
    scores = shared(true_E, all_QN, none, query_E)
    scores.own = True
    assert build_loss(cfg)(scores).item() == pytest.approx(expected, abs=1e-9)


def test_scores_that_overflow_an_exponential():
    scores = Scores(torch.tensor([500.0, -500.0]), torch.tensor([[900.0, -900.0], [MASKED, MASKED]]), torch.tensor([2, 0]))
    assert build_loss(SoftmaxLoss())(scores).item() == pytest.approx(400)


def test_the_mean_over_logits_counts_every_logit_once():
    assert build_loss(BCELoss(mean_over="logits")).share(24, 5) * 2 == 24 * (1 + 2 * 5)
    assert build_loss(BCELoss()).share(24, 5) == 24
