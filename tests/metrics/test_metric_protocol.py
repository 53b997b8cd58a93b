"""What holds for every accumulator: batches, merging, state, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.metrics.counts import ClassSums
from recap_exp.metrics.cross_entropy import NRCE, RCE, CrossEntropy
from recap_exp.metrics.metric import Metric, OneClassWarning
from recap_exp.metrics.ranking import AUROC

METRICS = [CrossEntropy, RCE, AUROC, ClassSums, lambda: CrossEntropy(from_logits=True), lambda: RCE(label_smoothing=0.1)]


def examples(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.choice([rng.random(n), np.round(rng.random(n), 1)], axis=0).astype(np.float32)  # some ties
    y = (rng.random(n) < p).astype(np.float32)
    y[:2] = 0, 1
    return p, y, rng.random(n).astype(np.float32) + 0.01


def value(metric: Metric) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneClassWarning)
        return metric.compute()


@pytest.mark.parametrize("make", METRICS)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 60), max_size=6), weighted=st.booleans())
@settings(max_examples=15, deadline=None)
def test_batches_and_merging_make_no_difference(make, seed, cuts, weighted):
    p, y, w = examples(seed)
    at_once = value(make().update(p, y, w if weighted else None))
    in_batches, merged = make(), make()
    for rows in np.split(np.arange(len(p)), sorted(cuts)):
        batch = p[rows], y[rows], w[rows] if weighted else None
        in_batches.update(*batch)
        merged.merge(make().update(*batch))
    assert value(in_batches) == pytest.approx(at_once, abs=1e-10)
    assert value(merged) == pytest.approx(at_once, abs=1e-10)


@pytest.mark.parametrize("make", [*METRICS, NRCE])
@pytest.mark.parametrize("weighted", [False, True])
def test_state_survives_and_reset_forgets(make, weighted):
    p, y, w = examples(1)
    metric = make().update(p, y, w if weighted else None)
    loaded = make().load_state_dict(metric.state_dict())
    assert value(loaded) == value(metric)
    more = examples(2)
    assert value(loaded.update(*more)) == pytest.approx(value(metric.update(*more)), abs=1e-12)
    metric.reset()
    assert np.isnan(value(metric))
    assert value(metric.update(*more)) == value(make().update(*more))


@pytest.mark.parametrize("make", [*METRICS, NRCE])
def test_equal_weights_of_any_size_are_none(make):
    p, y, _ = examples(3)
    assert value(make().update(p, y, 2.5)) == pytest.approx(value(make().update(p, y)), abs=1e-10)


@pytest.mark.parametrize("make", [*METRICS, NRCE])
def test_weight_zero_is_absence(make):
    p, y, w = examples(4)
    w[30:] = 0
    metric = make().update(p[:5], y[:5], np.zeros(5)).update(p, y, w)  # a first batch without weight, too
    assert value(metric) == pytest.approx(value(make().update(p[:30], y[:30], w[:30])), abs=1e-10)


def test_torch_tensors_of_any_type_are_read():
    p, y, w = examples(5)
    expected = RCE().update(p, y, w).compute()
    assert RCE().update(torch.tensor(p, requires_grad=True), torch.tensor(y), torch.tensor(w)).compute() == expected
    half = torch.tensor(p).bfloat16()
    assert RCE().update(half, torch.tensor(y).bool()).compute() == RCE().update(half.float(), y).compute()


@pytest.mark.parametrize(
    ("predictions", "labels", "weights", "message"),
    [
        ([0.1, 0.2], [0, 1, 1], None, "labels has 3 values, expected 2"),
        ([[0.1, 0.2]], [0, 1], None, "predictions must be one-dimensional"),
        ([0.1, np.nan], [0, 1], None, r"predictions\[1\] is nan"),
        ([0.1, 0.2], [0, 2], None, r"labels must be in \[0, 1\], not 2"),
        ([0.1, 0.2], [0, 1], [1, -1], "weights must be >= 0, not -1"),
        ([0.1, 0.2], [0, 1], [1], "weights has 1 values, expected 2"),
    ],
)
def test_bad_input_is_named(predictions, labels, weights, message):
    with pytest.raises(ValueError, match=message):
        RCE().update(predictions, labels, weights)
