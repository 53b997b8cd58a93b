import math

import numpy as np
import pytest

from recap_exp.metrics.mean import WeightedMean


def test_is_the_weighted_average():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=500), rng.random(500)
    mean = WeightedMean()
    for rows in np.array_split(np.arange(500), 7):
        mean.update(x[rows], w[rows])
    assert mean.compute() == pytest.approx(np.average(x, weights=w), rel=1e-13)
    assert mean.weight == pytest.approx(w.sum())


def test_neither_overflows_nor_drifts():
    big = np.full(1000, 3e38, np.float32)
    assert WeightedMean().update(big).update(big / 2, 1.0).compute() == pytest.approx(2.25e38)
    mean = WeightedMean()
    for _ in range(2000):
        mean.update([0.1] * 10, 1e-6)
    assert mean.compute() == pytest.approx(0.1, rel=1e-14)


def test_is_nan_without_weight():
    assert math.isnan(WeightedMean().compute())
    assert math.isnan(WeightedMean().update([1.0, 2.0], 0.0).compute())
    assert WeightedMean().update([5.0], 0.0).merge(WeightedMean().update([2.0])).compute() == 2.0
