"""Ranking against the definition over all pairs, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from recap_exp.metrics.metric import OneClassWarning
from recap_exp.metrics.ranking import AUROC, Ranking


def pairs(scores, positive, weights=None):
    """Share of pairs won [positives, negatives], ties one half, and the pairs' weights."""
    w = np.ones(len(scores)) if weights is None else weights
    a, b = scores[positive][:, None], scores[~positive][None]
    return (a > b) + 0.5 * (a == b), w[positive][:, None] * w[~positive][None]


@st.composite
def examples(draw):
    n = draw(st.integers(4, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.random(n) if draw(st.booleans()) else rng.integers(0, 4, n) / 4
    positive = rng.random(n) < draw(st.floats(0.1, 0.9))
    positive[:4] = True, True, False, False
    return scores, positive, rng.random(n) + 0.05 if draw(st.booleans()) else None


@given(examples())
@settings(max_examples=60, deadline=None)
def test_is_mann_whitney_over_all_pairs(example):
    scores, positive, weights = example
    won, weight = pairs(scores, positive, weights)
    ranking = Ranking.of(scores, positive, weights)
    assert ranking.auroc() == pytest.approx((won * weight).sum() / weight.sum(), abs=1e-12)
    assert ranking.auroc() == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights), abs=1e-9)
    assert ranking.average_precision() == pytest.approx(average_precision_score(positive, scores, sample_weight=weights), abs=1e-9)


@given(examples())
@settings(max_examples=40, deadline=None)
def test_only_the_order_counts_and_turning_it_round_turns_the_area(example):
    scores, positive, weights = example
    auroc = Ranking.of(scores, positive, weights).auroc()
    for monotone in (lambda s: s * 7 - 3, lambda s: np.exp(4 * s), lambda s: s**3 + s):
        assert Ranking.of(monotone(scores), positive, weights).auroc() == pytest.approx(auroc, abs=1e-12)
    assert Ranking.of(1 - scores, positive, weights).auroc() == pytest.approx(1 - auroc, abs=1e-12)
    assert Ranking.of(scores, ~positive, weights).auroc() == pytest.approx(1 - auroc, abs=1e-12)


@given(examples())
@settings(max_examples=40, deadline=None)
def test_standard_error_is_delongs(example):
    scores, positive, _ = example
    won, _ = pairs(scores, positive)
    m, n = won.shape
    variance = won.mean(1).var(ddof=1) / m + won.mean(0).var(ddof=1) / n
    assert Ranking.of(scores, positive).auroc_se() == pytest.approx(math.sqrt(variance), abs=1e-12)
    assert Ranking.of(scores, positive, np.full(len(scores), 3.0)).auroc_se() == pytest.approx(math.sqrt(variance), abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_standard_error_and_z_are_the_spread_of_repetitions(weighted):
    rng = np.random.default_rng(0)
    informed, ignorant = [], []
    for _ in range(400):
        p = rng.random(300)
        w = rng.choice([0.2, 1.0, 3.0], 300) if weighted else None
        informed.append(Ranking.of(p, rng.random(300) < p * 0.4, w))
        ignorant.append(Ranking.of(np.round(p, 1), rng.random(300) < 0.2, w))
    spread = np.std([r.auroc() for r in informed])
    assert np.mean([r.auroc_se() for r in informed]) == pytest.approx(spread, rel=0.12)
    z = [r.auroc_z() for r in ignorant]
    assert np.mean(z) == pytest.approx(0, abs=0.15)
    assert np.std(z) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("weighted", [False, True])
def test_curves_are_scikit_learns(weighted):
    rng = np.random.default_rng(0)
    scores, positive = np.round(rng.random(200), 2), rng.random(200) < 0.3
    weights = rng.random(200) if weighted else None
    ranking = Ranking.of(scores, positive, weights)
    fpr, tpr, thresholds = roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
    for ours, theirs in zip(ranking.roc(), (fpr[1:], tpr[1:], thresholds[1:]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    precision, recall, thresholds = precision_recall_curve(positive, scores, sample_weight=weights)
    for ours, theirs in zip(ranking.precision_recall(), (recall[:-1], precision[:-1], thresholds), strict=True):
        np.testing.assert_allclose(ours[::-1], theirs, atol=1e-12)


def test_exact_at_a_rate_of_one_in_a_million():
    """Three positives among three million; expected value by counting."""
    n = 3_000_000
    scores = np.arange(n, dtype=np.float32) * np.float32(1e-13)  # probabilities around 1e-7 and below
    positive = np.zeros(n, bool)
    positive[[n - 1, n // 2, 5]] = True
    beaten = (n - 3) + (n // 2 - 1) + 5
    # float32 makes some neighbours equal: count those ties by hand for the three positives
    for row in (n - 1, n // 2, 5):
        same = scores == scores[row]
        below_by_index = (same & ~positive)[:row].sum()
        beaten += 0.5 * (same & ~positive).sum() - below_by_index
    assert AUROC().update(scores, positive).compute() == pytest.approx(beaten / (3 * (n - 3)), abs=1e-15)


def test_ties_count_one_half():
    assert AUROC().update([0.3] * 6, [1, 0, 0, 1, 0, 0]).compute() == 0.5
    assert AUROC().update([0.3, 0.3, 0.9], [1, 0, 0]).compute() == 0.25
    assert math.isnan(Ranking.of(np.full(6, 0.3), np.arange(6) % 2 == 0).auroc_z())


def test_labels_above_the_threshold_are_positive():
    scores, labels = [0.1, 0.4, 0.35, 0.8], [0.1, 0.45, 0.55, 0.9]
    assert AUROC().update(scores, labels).compute() == 0.75
    assert AUROC(label_threshold=0.3).update(scores, labels).compute() == 1.0


def test_one_class_can_be_an_error():
    with pytest.raises(ValueError, match=r"AUROC of one class is undefined \(2 positives among 2 examples\)"):
        AUROC(one_class="error").update([0.1, 0.2], [1, 1]).compute()
    with pytest.warns(OneClassWarning, match="0 positives among 2 examples"):
        assert math.isnan(AUROC().update([0.1, 0.2], [0, 0]).compute())
    ranking = Ranking.of(np.array([0.1, 0.2, 0.3]), np.array([True, False, False]))
    assert ranking.auroc() == 0
    assert math.isnan(ranking.auroc_se())  # nothing is known of the spread of one positive


def test_keeps_what_it_was_given_when_the_buffer_is_reused():
    buffer = np.array([0.1, 0.9])
    metric = AUROC().update(buffer, [0, 1])
    buffer[:] = 0.9, 0.1
    assert metric.compute() == 1.0
