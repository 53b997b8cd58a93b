"""Cross entropies against formulas written out a second time, and against the original's numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from recap_exp.metrics.cross_entropy import NRCE, RCE, CrossEntropy
from recap_exp.metrics.metric import OneClassWarning
from recap_exp.metrics.ranking import AUROC

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
RESULTS = dict(zip(GOLDEN["results/names"].tolist(), GOLDEN["results/values"].tolist(), strict=True))
RANDOM = [f"random{i}" for i in range(5)]
METRICS = {"RCE": RCE, "NRCE": NRCE, "AUROC": AUROC}
OPTIONS = {
    "from_logits": {"from_logits": True},
    "smooth0.1": {"label_smoothing": 0.1},
    "eps1e-5": {"epsilon": 1e-5},
    "logits_smooth0.1": {"from_logits": True, "label_smoothing": 0.1},
}


def computed(metric, case: str, weights: str, batches: int, logits: bool = False) -> float:
    p, y = GOLDEN[f"{case}/{'logit' if logits else 'pred'}"], GOLDEN[f"{case}/label"]
    w = GOLDEN[f"{case}/weight"] if weights == "weighted" else np.ones(len(p), np.float32)
    for rows in np.array_split(np.arange(len(p)), batches):
        metric.update(p[rows], y[rows], w[rows])
    return metric.compute()


def entropy(y: float, p: float, eps: float, dtype: type) -> float:
    """One example, step by step; `dtype` is that of the clipping bounds."""
    one, e = dtype(1), dtype(eps)
    p = min(max(dtype(p), e), one - e)
    return -(y * math.log(p + e) + (1 - y) * math.log(one - p + e))


def slow_nrce(p, y, w, batches: int, eps: float = 1e-7, smoothing: float = 0.0, dtype: type = float) -> float:
    """The formula example by example: running means, then entropy of the scaled prediction."""
    y = [label * (1 - smoothing) + smoothing / 2 for label in y.tolist()]
    p, w = p.astype(float).tolist(), w.astype(float).tolist()
    labels = predictions = model = 0.0
    for rows in np.array_split(np.arange(len(p)), batches):
        labels += math.fsum(w[i] * y[i] for i in rows)
        predictions += math.fsum(w[i] * p[i] for i in rows)
        model += math.fsum(w[i] * entropy(y[i], p[i] * (labels / predictions), eps, dtype) for i in rows)
    mean = labels / math.fsum(w)
    constant = math.fsum(a * entropy(b, mean, eps, dtype) for a, b in zip(w, y, strict=True))
    return 100 * (1 - model / constant)


@pytest.mark.parametrize("case", RANDOM)
@pytest.mark.parametrize("weights", ["weighted", "unweighted"])
@pytest.mark.parametrize("batches", [1, 7])
@pytest.mark.parametrize("metric", ["RCE", "AUROC"])
def test_rce_and_auroc_are_the_originals(case, weights, batches, metric):
    assert computed(METRICS[metric](), case, weights, batches) == pytest.approx(
        RESULTS[f"{case}/{weights}/{metric}/batches{batches}"], abs=1e-4
    )


@pytest.mark.parametrize("case", RANDOM)
@pytest.mark.parametrize("option", OPTIONS)
def test_rce_with_options_is_the_originals(case, option):
    metric = RCE(**OPTIONS[option])
    assert computed(metric, case, "weighted", 1, "logits" in option) == pytest.approx(RESULTS[f"{case}/weighted/RCE/{option}"], abs=1e-4)


@pytest.mark.parametrize("case", [*RANDOM, "ties8"])
@pytest.mark.parametrize("weights", ["weighted", "unweighted"])
@pytest.mark.parametrize("batches", [1, 7])
def test_nrce_is_its_formula_and_the_original_but_for_single_precision(case, weights, batches):
    p, y = GOLDEN[f"{case}/pred"], GOLDEN[f"{case}/label"]
    w = GOLDEN[f"{case}/weight"] if weights == "weighted" else np.ones(len(p))
    ours, theirs = computed(NRCE(), case, weights, batches), RESULTS[f"{case}/{weights}/NRCE/batches{batches}"]
    assert ours == pytest.approx(slow_nrce(p, y, w, batches), abs=1e-9)
    # In single precision 1 - 1e-7 is 1 - 1.19e-7: of scaled predictions above 1 the original's logarithm differs, and nothing else.
    assert slow_nrce(p, y, w, batches, dtype=np.float32) == pytest.approx(theirs, abs=1e-4)
    assert ours == pytest.approx(theirs, abs=0.07)


@pytest.mark.parametrize("case", ["random0", "random3"])
def test_nrce_is_the_original_where_nothing_is_clipped(case):
    for batches in (1, 7):
        assert computed(NRCE(), case, "weighted", batches) == pytest.approx(RESULTS[f"{case}/weighted/NRCE/batches{batches}"], abs=1e-4)
    assert computed(NRCE(from_logits=True), case, "weighted", 1, True) == pytest.approx(
        RESULTS[f"{case}/weighted/NRCE/from_logits"], abs=1e-4
    )
    smoothed = slow_nrce(*(GOLDEN[f"{case}/{n}"] for n in ("pred", "label", "weight")), 1, smoothing=0.1)
    assert computed(NRCE(label_smoothing=0.1), case, "weighted", 1) == pytest.approx(smoothed, abs=1e-9)


def test_cross_entropy_is_log_loss():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=300) * 3, rng.random(300)
    p, y = 1 / (1 + np.exp(-x)), rng.random(300) < 0.3
    expected = log_loss(y, p, sample_weight=w)
    assert CrossEntropy(from_logits=True).update(x, y, w).compute() == pytest.approx(expected, rel=1e-12)
    assert CrossEntropy().update(p, y, w).compute() == pytest.approx(expected, abs=1e-4)  # Keras's epsilons
    assert CrossEntropy(from_logits=True).update([800.0, -800.0], [0, 1]).compute() == 800


def test_epsilon_counts_twice():
    assert CrossEntropy().update([0.0], [1.0]).compute() == pytest.approx(-math.log(2e-7), rel=1e-12)


@given(rate=st.floats(0.001, 0.999), weighted=st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_mean_label_has_no_rce(rate, weighted):
    rng = np.random.default_rng(int(rate * 1e6))
    y = rng.random(200) < rate
    y[:2] = 0, 1
    w = rng.random(200) + 0.1 if weighted else np.ones(200)
    p = np.full(200, np.average(y, weights=w))
    assert RCE().update(p, y, w).compute() == pytest.approx(0, abs=1e-9)
    assert RCE().update(y.astype(float), y, w).compute() == pytest.approx(100, abs=1e-3)
    assert RCE().update(np.where(y, p, p / 2), y, w).compute() > 0


def test_nrce_forgives_a_wrong_level():
    rng = np.random.default_rng(0)
    p = rng.random(1000) * 0.2
    y = rng.random(1000) < p
    right, half = RCE().update(p * (y.mean() / p.mean()), y).compute(), NRCE().update(p / 2, y).compute()
    assert half == pytest.approx(right, abs=1e-9)
    assert RCE().update(p / 2, y).compute() < right - 1


@pytest.mark.parametrize("metric", [RCE, NRCE, AUROC])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_nan_with_a_warning(metric, label):
    with pytest.warns(OneClassWarning, match=f"{metric.__name__} of one class"):
        assert math.isnan(metric().update([0.2, 0.7], [label, label]).compute())
    with pytest.warns(OneClassWarning):
        assert math.isnan(metric().update([0.2, 0.7], [0, 1], [label, 1 - label]).compute())  # the other class weighs nothing
    with pytest.warns(OneClassWarning):
        assert math.isnan(metric().compute())
