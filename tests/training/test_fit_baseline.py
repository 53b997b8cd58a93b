"""What `fit_baseline` reads, tells and stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import TASKS, Log, make_batches, same, weights

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.errors import DataError
from recap_exp.model.config import LogisticRegressionConfig
from recap_exp.model.logistic_regression import LogisticRegression
from recap_exp.training.baseline import STEP, collect, fit_baseline
from recap_exp.training.checkpoint import Checkpoints
from recap_exp.training.config import TrainerConfig
from recap_exp.training.loop import FitResult

SCHEMA = Schema(
    blocks={
        "continuous": Block(kind="continuous", columns=("c",), width=7, use=7),
        "binary": Block(kind="binary", columns=("b",), width=3, use=3),
    }
)
POS_WEIGHTS = {"like": 2.0, "reply": 1.0, "report": 1.0}


class Rows:
    """The same few batches each time; counts how often they are read."""

    def __init__(self, batches: int = 9) -> None:
        self.batches, self.read = batches, 0

    def __call__(self) -> Iterator[Batch]:
        self.read += 1
        batches = make_batches(rows=32)
        return iter([next(batches) for _ in range(self.batches)])


def model() -> LogisticRegression:
    return LogisticRegression(LogisticRegressionConfig(name="lr", C=1.0), SCHEMA, TASKS)


def fit(baseline: LogisticRegression, rows: Rows, folder: Path, log: Log, pos_weights: dict[str, float] = POS_WEIGHTS) -> FitResult:
    cfg = TrainerConfig(steps=5, batch_size=16, loss_reduction="sum")
    told = {"pos_weights": pos_weights, "seed": 0, "tracker": log, "checkpoints": Checkpoints(folder), "progress": False}
    return fit_baseline(baseline, rows, cfg, **told)


def test_rows_are_collected_once_in_their_order_with_all_their_weights():
    rows = Rows()
    features_ND, labels_NT, weights_NT = collect(model(), rows(), np.array([2, 1, 1], np.float32))
    whole = list(rows())
    np.testing.assert_array_equal(features_ND[:, :7], np.concatenate([b.continuous_BC for b in whole]))
    np.testing.assert_array_equal(labels_NT, np.concatenate([b.labels_BT for b in whole]))
    own = np.concatenate([b.weights_BT for b in whole])
    own[:, 0] *= np.where(labels_NT[:, 0] > 0, 2, 1)
    np.testing.assert_array_equal(weights_NT, own)
    assert features_ND.dtype == labels_NT.dtype == weights_NT.dtype == np.float32


def test_without_weights_there_are_none():
    def bare() -> Iterator[Batch]:
        for batch in Rows()():
            batch.weights_BT = None
            yield batch

    assert collect(model(), bare(), np.ones(3, np.float32))[2] is None
    weights_NT = collect(model(), bare(), np.array([1, 1, 3], np.float32))[2]
    assert weights_NT is not None
    assert set(np.unique(weights_NT[:, 2])) == {1.0, 3.0}
    assert set(np.unique(weights_NT[:, 0])) == {1.0}


def test_tells_the_ranker_s_loss_over_all_rows(tmp_path):
    baseline, log = model(), Log()
    result = fit(baseline, Rows(), tmp_path, log)
    assert (result.step, result.evaluated, result.restored, result.best_step, result.notes) == (STEP, False, False, None, ())
    logits = torch.cat([baseline(b) for b in Rows()()]).double()
    labels, own = (torch.cat([getattr(b, name) for b in Rows()()]).double() for name in ("labels_BT", "weights_BT"))
    softplus = torch.nn.functional.softplus
    pos = torch.tensor([2.0, 1.0, 1.0])
    losses = (own * (pos * labels * softplus(-logits) + (1 - labels) * softplus(logits))).mean(dim=0)
    told = log.steps[STEP]
    assert [told[f"train/loss/{task}"] for task in TASKS] == pytest.approx(losses.tolist(), rel=1e-5)
    assert told["train/loss"] == pytest.approx(losses.sum().item(), rel=1e-5)


def test_a_run_that_goes_on_takes_its_checkpoint(tmp_path):
    first, again, rows = model(), model(), Rows()
    logs = Log(), Log()
    fit(first, rows, tmp_path, logs[0])
    assert rows.read == 2
    assert [p.name for p in Checkpoints(tmp_path).all()] == ["step_00000001"]
    fit(again, rows, tmp_path, logs[1])
    assert rows.read == 3
    assert same(weights(first), weights(again))
    assert logs[0].steps == logs[1].steps


def test_rows_without_labels_are_an_error(tmp_path):
    def bare() -> Iterator[Batch]:
        for batch in Rows()():
            batch.labels_BT = None
            yield batch

    with pytest.raises(DataError, match="a training batch has no labels"):
        fit(model(), bare, tmp_path, Log())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_is_fitted_and_stays_there(tmp_path):
    baseline = model().to("cuda")
    fit(baseline, Rows(), tmp_path, Log())
    assert baseline.device.type == "cuda"
    batch = next(Rows()())
    on_cpu = model()
    fit(on_cpu, Rows(), tmp_path / "cpu", Log())
    torch.testing.assert_close(baseline(batch.to(baseline.device)).cpu(), on_cpu(batch))
