"""Our ranker gives the original's numbers: forward and loss to 1e-5, gradients to 1e-5 of the tensor's largest entry."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from golden_numbers import CONFIGS, GOLDEN, RATES, TASKS, GoldenModel, golden_model

from recap_exp.interop import load_original_state
from recap_exp.model.calibration import calibrate, rates_ratio
from recap_exp.model.input import log1p_abs
from recap_exp.model.loss import reduce_losses, task_losses
from recap_exp.model.ranker import Ranker, build_ranker
from recap_exp.tasks import Rates

CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(params=CONFIGS)
def golden(request) -> GoldenModel:
    return golden_model(request.param)


@pytest.fixture
def ranker(golden) -> Ranker:
    ranker = build_ranker(golden.config, golden.schema, golden.tasks)
    load_original_state(ranker, golden.state)
    return ranker


def losses(ranker, golden):
    batch = golden.batch()
    logits_BT = ranker(batch)
    return logits_BT, task_losses(logits_BT, batch.labels_BT, batch.weights_BT, golden.pos_weight_T)


def filled(ranker, golden, folder) -> Ranker:
    """A second ranker whose entries are the golden ones under `folder`, where there are any."""
    other = copy.deepcopy(ranker)
    load_original_state(other, {**golden.state, **golden.under(folder)})
    return other


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_forward_and_loss(ranker, golden, mode):
    ranker.train(mode == "train")
    with torch.no_grad():
        logits_BT, loss_T = losses(ranker, golden)
    probs_BT = logits_BT.double().sigmoid().numpy()
    np.testing.assert_allclose(logits_BT, golden[f"{mode}/logits"], **CLOSE)
    np.testing.assert_allclose(probs_BT, golden[f"{mode}/probabilities"], **CLOSE)
    calibrated_BT = calibrate(probs_BT, rates_ratio(TASKS, RATES))
    np.testing.assert_allclose(calibrated_BT, golden[f"{mode}/calibrated_probabilities"], **CLOSE)
    np.testing.assert_allclose(loss_T, golden.losses(mode), **CLOSE)
    np.testing.assert_allclose(reduce_losses(loss_T, "mean"), golden[f"{mode}/loss"], **CLOSE)


def test_features_and_backbone(ranker, golden):
    ranker.eval()
    with torch.no_grad():
        features_BD = ranker.features(golden.batch())
        hidden_BH = ranker.hidden(features_BD)
    np.testing.assert_allclose(features_BD[:, :48], golden["eval/preprocessor"], **CLOSE)
    if "eval/backbone" in golden:
        np.testing.assert_allclose(hidden_BH, golden["eval/backbone"], **CLOSE)
    assert ranker.input_width == features_BD.shape[1] == 72


def test_gradients(ranker, golden):
    ranker.train()
    reduce_losses(losses(ranker, golden)[1], "mean").backward()
    expected = dict(filled(ranker, golden, "grad").named_parameters())
    noise = biases_before_batch_norm(ranker, golden)
    compared = 0
    for name, parameter in ranker.named_parameters():
        assert parameter.grad is not None, name
        if name in noise:
            continue
        want = expected[name].detach()
        off = (parameter.grad - want).abs().max() / want.abs().max()
        assert off < 1e-5, f"{name}: off by {off:.1e} of the largest entry"
        compared += 1
    assert compared + len(noise) == len(golden.grads)


def biases_before_batch_norm(ranker, golden) -> set[str]:
    """Biases that the next BatchNorm's mean takes out again: their gradient is 0, and rounding noise in float32.

    Found in float64, where the noise is far below every gradient that is one.
    """
    exact = copy.deepcopy(ranker).double().train()
    losses(exact, golden)[1].mean().backward()
    noise = {name for name, p in exact.named_parameters() if p.grad.abs().max() < 1e-13}
    assert all(name.endswith(".bias") for name in noise)
    return noise


def test_batch_norm_statistics_after_one_training_forward(ranker, golden):
    ranker.train()
    with torch.no_grad():
        ranker(golden.batch())
    expected = dict(filled(ranker, golden, "bn_after_1_train_fwd").named_buffers())
    assert expected
    for name, buffer in ranker.named_buffers():
        np.testing.assert_allclose(buffer, expected[name], err_msg=name, **CLOSE)


def test_reduction_factor_reads_off_the_aggregation():
    ranker = build_ranker(CONFIGS["reduction_factor"], golden_model("reduction_factor").schema, TASKS)
    assert ranker.backbone.blocks[0].aggregate.weight.shape == (26, 72)


def test_calibration():
    with np.load(GOLDEN / "calibration.npz") as golden:
        for (positive, negative), ratio, out in zip(golden["rates_pos_neg"], golden["ratio"], golden["out"], strict=True):
            ours = rates_ratio(["a", "b"], {"a": Rates(positive=positive, negative=negative)})
            assert ours[0] == pytest.approx(ratio, rel=1e-6)  # the original's is a float32
            assert ours[1] == 1
            np.testing.assert_allclose(calibrate(golden["p"], ours[0]), out, atol=1e-6, rtol=0)
            np.testing.assert_allclose(calibrate(torch.from_numpy(golden["p"]).double(), float(ours[0])), out, atol=1e-6, rtol=0)


def test_log_transform():
    with np.load(GOLDEN / "calibration.npz") as golden:
        np.testing.assert_allclose(log1p_abs(torch.from_numpy(golden["log_transform/in"])), golden["log_transform/out"], rtol=1e-6)
