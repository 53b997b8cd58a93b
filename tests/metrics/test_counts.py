from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score

from recap_exp.metrics.calibration import Reliability
from recap_exp.metrics.counts import ClassSums
from recap_exp.metrics.ranking import Ranking


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_scikit_learns(weighted):
    rng = np.random.default_rng(0)
    p, w = rng.random(400), rng.random(400) if weighted else None
    y = rng.random(400) < p * 0.6
    sums = ClassSums().update(p, y, w)
    assert (sums.examples, sums.positives) == (400, y.sum())
    assert sums.ctr == pytest.approx(np.average(y, weights=w))
    assert sums.pctr == pytest.approx(np.average(p, weights=w))
    assert sums.compute() == pytest.approx(sums.pctr / sums.ctr)
    assert sums.precision == pytest.approx(precision_score(y, p > 0.5, sample_weight=w))
    assert sums.recall == pytest.approx(recall_score(y, p > 0.5, sample_weight=w))


def test_undefined_shares_are_nan():
    nothing_called = ClassSums().update([0.1, 0.2], [0, 1])
    assert math.isnan(nothing_called.precision)
    assert nothing_called.recall == 0
    no_positives = ClassSums().update([0.9, 0.2], [0, 0])
    assert no_positives.precision == 0
    assert math.isnan(no_positives.recall)
    assert math.isnan(no_positives.compute())


def test_reliability_bins_hold_equal_weight_and_wilson_intervals():
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    y = rng.random(1000) < p
    r = Reliability.of(Ranking.of(p, y), 4)
    for i, rows in enumerate(np.array_split(np.argsort(p), 4)):
        assert r.prob_K[i] == pytest.approx(p[rows].mean())
        assert r.rate_K[i] == pytest.approx(y[rows].mean())
        interval = binomtest(int(y[rows].sum()), len(rows)).proportion_ci(0.95, "wilson")
        assert (r.low_K[i], r.high_K[i]) == pytest.approx(tuple(interval))


def test_equal_probabilities_share_a_bin():
    r = Reliability.of(Ranking.of(np.full(50, 0.2), np.arange(50) < 5), 10)
    np.testing.assert_allclose((r.prob_K, r.rate_K), ([0.2], [0.1]))
    assert r.low_K[0] < 0.1 < r.high_K[0]
