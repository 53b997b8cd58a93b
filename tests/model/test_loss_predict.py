"""Losses, calibration, and predictions over a stream."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from golden_numbers import RATES, TASKS, golden_model
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.interop import load_original_state
from recap_exp.model.calibration import calibrate, rates_ratio
from recap_exp.model.loss import reduce_losses, task_losses
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.model.ranker import build_ranker
from recap_exp.tasks import Rates

PROBS = st.floats(0, 1)


@given(PROBS, PROBS, st.floats(1e-5, 1e5))
def test_calibration_is_monotone_within_0_and_1(p, q, ratio):
    a, b = calibrate(np.array([p, q]), ratio)
    assert 0 <= a <= 1 and 0 <= b <= 1
    assert (a <= b + 1e-15) if p <= q else (a >= b - 1e-15)


@given(PROBS, st.floats(1e-5, 1e5))
def test_calibration_undoes_itself(p, ratio):
    once = calibrate(np.array([p]), ratio)
    assert calibrate(np.array([p]), 1.0)[0] == pytest.approx(p, abs=1e-15)
    if 1e-3 < p < 0.999:
        assert calibrate(once, 1 / ratio)[0] == pytest.approx(p, rel=1e-6)


def test_calibration_restores_the_rate_before_downsampling():
    positives, negatives, rates = 300, 7000, Rates(positive=0.5, negative=0.02)
    kept = positives * rates.positive / (positives * rates.positive + negatives * rates.negative)
    restored = calibrate(np.array([kept]), rates_ratio(["t"], {"t": rates}))
    assert restored[0] == pytest.approx(positives / (positives + negatives), rel=1e-12)


@pytest.mark.parametrize("pos_weight", [None, [2.0, 0.5, 1.0]])
@pytest.mark.parametrize("weighted", [False, True])
def test_task_losses_by_their_formula(weighted, pos_weight):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(7, 3)), rng.integers(0, 2, (7, 3)).astype(float)
    w = rng.uniform(0.1, 9, (7, 3)) if weighted else np.ones((7, 3))
    p = 1 / (1 + np.exp(-z))
    expected = -(w * (np.array(pos_weight or [1, 1, 1]) * y * np.log(p) + (1 - y) * np.log(1 - p))).mean(axis=0)
    got = task_losses(
        torch.tensor(z),
        torch.tensor(y).float(),
        torch.tensor(w).float() if weighted else None,
        None if pos_weight is None else torch.tensor(pos_weight),
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_task_losses_are_stable_and_in_float32():
    loss_T = task_losses(torch.tensor([[1e4, -1e4]], dtype=torch.bfloat16), torch.tensor([[0.0, 1.0]]))
    assert loss_T.dtype == torch.float32
    np.testing.assert_allclose(loss_T, [1e4, 1e4], rtol=1e-2)
    assert task_losses(torch.tensor([[200.0]]), torch.tensor([[1.0]])).item() == 0


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 2.5), ("sum", 10.0), ("min", 1.0), ("max", 4.0), ("median", 2.0)])
def test_reductions(reduction, expected):
    assert reduce_losses(torch.tensor([4.0, 1.0, 3.0, 2.0]), reduction).item() == expected


@pytest.fixture(scope="module")
def ranker():
    golden = golden_model("share_all")
    ranker = build_ranker(golden.config, golden.schema, golden.tasks)
    load_original_state(ranker, golden.state)
    return ranker


def test_predict_streams_in_evaluation_mode_and_leaves_no_trace(ranker):
    golden, drawn = golden_model("share_all"), []

    def batches():
        for start in (0, 40):
            drawn.append(start)
            rows = slice(start, start + 40)
            b = golden.batch()
            yield dataclasses.replace(
                b,
                continuous_BC=b.continuous_BC[rows],
                binary_BI=b.binary_BI[rows],
                embeddings={n: e[rows] for n, e in b.embeddings.items()},
                labels_BT=b.labels_BT[rows],
                weights_BT=None,
                ids={"row": np.arange(64)[rows]},
            )

    ranker.train()
    stream = predict(ranker, batches(), rates_ratio(TASKS, RATES))
    parts = [next(stream)]
    assert drawn == [0]
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    parts += list(stream)
    assert ranker.training
    assert ranker.dense.batch_norm.num_batches_tracked == golden.state["_preprocessor._before_concat_layers.2.layer.num_batches_tracked"]
    whole = Predictions.concatenate(parts)
    assert len(whole) == 64 and whole.tasks == TASKS
    np.testing.assert_allclose(whole.logits_NT, golden["eval/logits"], atol=1e-5)
    np.testing.assert_allclose(whole.probs_NT, golden["eval/probabilities"], atol=1e-6)
    np.testing.assert_allclose(whole.calibrated_NT, golden["eval/calibrated_probabilities"], atol=1e-6)
    assert {a.dtype for a in (whole.logits_NT, whole.probs_NT, whole.calibrated_NT, whole.labels_NT)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(whole.labels_NT, golden["in/labels"])
    np.testing.assert_array_equal(whole.ids["row"], np.arange(64))
    assert whole.weights_NT is None and whole.truths_NT is None


def test_predict_restores_training_mode_when_cut_short(ranker):
    ranker.train()
    stream = predict(ranker, iter([golden_model("share_all").batch()] * 3))
    first = next(stream)
    np.testing.assert_array_equal(first.calibrated_NT, first.probs_NT)
    stream.close()
    assert ranker.training
