"""Baselines are what their libraries fit by hand on the same rows, kept as tensors."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.errors import CheckpointError, ConfigError, DataError
from recap_exp.model import logistic_regression
from recap_exp.model.baseline import Baseline
from recap_exp.model.build import build
from recap_exp.model.config import LightGBMConfig, LogisticRegressionConfig
from recap_exp.training.checkpoint import Checkpoints, TrainState, load_weights

TASKS = ("like", "reply", "report")
SCHEMA = Schema(
    blocks={
        "c": Block(kind="continuous", columns=("c",), width=4, use=4),
        "author": Block(kind="embedding", columns=("author",), width=3, use=3),
        "d": Block(kind="discrete", columns=("d",), width=1, use=1),
        "b": Block(kind="binary", columns=("b",), width=2, use=2),
    }
)
CONFIGS = {
    "logistic_regression": LogisticRegressionConfig(name="lr", C=0.1),
    "lightgbm": LightGBMConfig(name="trees", trees=8, leaves=4, min_rows=20, rate=0.05, l2=10.0, feature_share=0.5),
}
KINDS = sorted(CONFIGS)


def make(kind: str) -> Baseline:
    model = build(CONFIGS[kind], SCHEMA, TASKS)
    assert isinstance(model, Baseline)
    return model


def rows(n: int = 700, seed: int = 0) -> Batch:
    """n rows whose first features tell the labels; one column is constant."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(n, 4)).astype(np.float32) * np.array([1, 5, 30, 0], np.float32)
    b, author = rng.integers(0, 2, (n, 2)).astype(np.float32), rng.normal(size=(n, 3)).astype(np.float32)
    logits = np.stack([c[:, 0] + b[:, 0], c[:, 1] / 5 - author[:, 0], b[:, 1] - 2 + author[:, 1]], axis=1)
    return Batch(
        continuous_BC=torch.from_numpy(c),
        binary_BI=torch.from_numpy(b),
        discrete_BJ=torch.zeros(n, 0, dtype=torch.int64),
        embeddings={"author": torch.from_numpy(author)},
        labels_BT=torch.from_numpy((rng.random((n, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)),
        weights_BT=torch.from_numpy(rng.uniform(0.2, 3, (n, 3)).astype(np.float32)),
    )


def raw(batch: Batch) -> np.ndarray:
    return np.concatenate([batch.continuous_BC.numpy(), batch.binary_BI.numpy(), batch.embeddings["author"].numpy()], axis=1)


def fitted(kind: str, batch: Batch | None = None, weighted: bool = True, seed: int = 0) -> tuple[Baseline, list[str | None]]:
    batch, model = batch or rows(), make(kind)
    weights = batch.weights_BT.numpy() if weighted else None
    notes = list(model.fit(model.inputs.side_by_side(batch).numpy(), batch.labels_BT.numpy(), weights, seed))
    return model.eval(), notes


def states(model: Baseline) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("weighted", [True, False])
def test_logistic_regression_is_scikit_learn_s(weighted, monkeypatch):
    monkeypatch.setattr(logistic_regression, "CHUNK", 128)  # several pieces, the last a shorter one
    batch, fresh = rows(), rows(50, seed=1)
    model, notes = fitted("logistic_regression", batch, weighted)
    assert notes == [None] * 3

    def transformed(batch: Batch) -> np.ndarray:
        x = raw(batch).astype(np.float64)
        x[:, :4] = np.sign(x[:, :4]) * np.log1p(np.abs(x[:, :4]))
        return x

    scaler = StandardScaler().fit(transformed(batch))

    def features(batch: Batch) -> np.ndarray:
        z = scaler.transform(transformed(batch))
        z[:, :4] = z[:, :4].clip(-5, 5)
        return z

    logits = model(fresh).numpy()
    for t in range(3):
        weights = batch.weights_BT[:, t].numpy() if weighted else None
        by_hand = LogisticRegression(C=0.1, max_iter=1000, tol=1e-8).fit(features(batch), batch.labels_BT[:, t].numpy(), weights)
        np.testing.assert_allclose(logits[:, t], by_hand.decision_function(features(fresh)), atol=2e-3)


@pytest.mark.parametrize("weighted", [True, False])
def test_lightgbm_is_lightgbm_s(weighted):
    batch, fresh = rows(), rows(50, seed=1)
    batch.weights_BT[:, 1] = 1.0  # after a task whose weights are not
    model, _ = fitted("lightgbm", batch, weighted, seed=3)
    parameters = {
        "objective": "binary",
        "num_leaves": 4,
        "learning_rate": 0.05,
        "min_data_in_leaf": 20,
        "lambda_l2": 10,
        "feature_fraction": 0.5,
        "seed": 3,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    for t in range(3):
        weights = batch.weights_BT[:, t].numpy().copy() if weighted else None
        data = lightgbm.Dataset(raw(batch), label=batch.labels_BT[:, t].numpy().copy(), weight=weights)
        by_hand = lightgbm.train(parameters, data, num_boost_round=8)
        np.testing.assert_allclose(model(fresh)[:, t].numpy(), by_hand.predict(raw(fresh), raw_score=True), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_and_seed_give_the_same_bits(kind):
    first = states(fitted(kind)[0])
    assert first == states(fitted(kind)[0])
    assert first != states(fitted(kind, weighted=False)[0])
    assert (first != states(fitted(kind, seed=1)[0])) == (kind == "lightgbm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_one_class_gets_its_smoothed_rate(kind):
    batch = rows()
    assert batch.labels_BT is not None and batch.weights_BT is not None
    batch.labels_BT[:, 1], batch.labels_BT[:, 2] = 0.0, 1.0
    model, notes = fitted(kind, batch)
    assert notes[0] is None
    assert notes[1:] == [
        "reply: all training rows are negative; its probability is a constant",
        "report: all training rows are positive; its probability is a constant",
    ]
    mass = batch.weights_BT.double().sum(dim=0)
    probs = model(rows(20, seed=1)).double().sigmoid()
    torch.testing.assert_close(probs[:, 1], (1 / (mass[1] + 2)).expand(20), rtol=1e-5, atol=0)
    torch.testing.assert_close(probs[:, 2], ((mass[2] + 1) / (mass[2] + 2)).expand(20), rtol=1e-5, atol=0)
    assert probs[:, 0].unique().numel() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_features_that_are_not_finite_are_no_obstacle(kind):
    batch = rows()
    for value in (float("nan"), float("inf"), -float("inf")):
        batch.continuous_BC[::7, 1] = value
        batch.embeddings["author"][::9, 2] = value
        assert fitted(kind, batch)[0](batch).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_keeps_its_features(kind):
    batch = rows()
    batch.continuous_BC[0, 0] = float("inf")
    before = raw(batch)
    model, _ = fitted(kind)
    model(batch)
    np.testing.assert_array_equal(raw(batch), before)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_model_says_the_same(kind, constant, tmp_path: Path):
    batch = rows()
    assert batch.labels_BT is not None
    if constant:
        batch.labels_BT[:, 1] = 0.0
    model, _ = fitted(kind, batch)
    path = Checkpoints(tmp_path / "checkpoints").save(model, None, TrainState(step=1))
    file = tmp_path / "weights.safetensors"
    save_file(dict(model.state_dict()), file)
    for source in (path, file):
        again = make(kind)
        again.make_room({})  # a state that says nothing of sizes changes none
        load_weights(source, again)
        assert torch.equal(again(batch), model(batch))
        load_weights(source, again)  # also into a model that has learned
        assert states(again) == states(model)


def test_damaged_trees_are_said():
    model, _ = fitted("lightgbm")
    model.get_buffer("trees_1").fill_(255)
    with pytest.raises(CheckpointError, match="the trees of task 'reply' are damaged"):
        model(rows())


def test_weights_of_another_model_are_refused(tmp_path: Path):
    path = Checkpoints(tmp_path).save(fitted("lightgbm")[0], None, TrainState(step=1))
    with pytest.raises(CheckpointError, match=r"of another model: lacks .*has unknown constant_T, trees_0"):
        load_weights(path, make("logistic_regression"))


def test_an_unfinished_optimisation_is_said():
    config = replace(CONFIGS["logistic_regression"], max_iter=1, C=100.0)
    model, batch = build(config, SCHEMA, TASKS), rows()
    assert isinstance(model, Baseline)
    notes = list(model.fit(model.inputs.side_by_side(batch).numpy(), batch.labels_BT.numpy(), None, 0))
    assert notes[0] == "like: not converged after model.max_iter=1 iterations"


def test_blocks_are_chosen_and_checked():
    model = build(LightGBMConfig(name="trees", blocks=["author"]), SCHEMA, TASKS)
    assert model.input_width == 3
    with pytest.raises(ConfigError, match="'d' is discrete"):
        build(LogisticRegressionConfig(name="lr", blocks=["d"]), SCHEMA, TASKS)
    with pytest.raises(DataError, match="9 binary features, the model was built for 2"):
        model = make("logistic_regression")
        batch = rows()
        batch.binary_BI = torch.zeros(len(batch), 9)
        model(batch)


def test_lightgbm_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"model=trees needs the package lightgbm.*pip install 'recap-exp\[lightgbm\]'"):
        make("lightgbm")
    make("logistic_regression")


@pytest.mark.parametrize(
    ("config", "changed", "says"),
    [
        ("logistic_regression", {"C": 0.0}, "C must be a number > 0, not 0.0"),
        ("logistic_regression", {"clip": float("inf")}, "clip must be"),
        ("logistic_regression", {"max_iter": 0}, "max_iter must be at least 1, not 0"),
        ("logistic_regression", {"blocks": []}, "blocks must be null"),
        ("lightgbm", {"trees": 0}, "trees must be at least 1, not 0"),
        ("lightgbm", {"leaves": 1}, "leaves must be at least 2, not 1"),
        ("lightgbm", {"min_rows": 0}, "min_rows must be at least 1"),
        ("lightgbm", {"rate": 0.0}, r"rate must be in \(0, 1\], not 0.0"),
        ("lightgbm", {"feature_share": 1.5}, "feature_share must be"),
        ("lightgbm", {"l2": -1.0}, "l2 must be a number >= 0"),
    ],
)
def test_wrong_settings_are_named(config, changed, says):
    with pytest.raises(ValueError, match=says):
        replace(CONFIGS[config], **changed)
