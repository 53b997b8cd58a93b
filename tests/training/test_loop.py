"""The loop: how many updates, what of, what is told, when it ends."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from small_training import Log, make_batches, make_optimizer, make_ranker, same, train, weights

from recap_exp.data.batch import Batch
from recap_exp.errors import ConfigError, DataError, RecapError
from recap_exp.training import loop
from recap_exp.training.checkpoint import Checkpoints, read_meta
from recap_exp.training.config import EarlyStoppingConfig, TrainerConfig
from recap_exp.training.seeds import capture, choose_device, prepare_torch


def halves(batch: Batch) -> list[Batch]:
    """Its first and its second half."""
    n = len(batch) // 2

    def cut(value, rows: slice):
        return {name: v[rows] for name, v in value.items()} if isinstance(value, dict) else None if value is None else value[rows]

    return [Batch(**{name: cut(value, rows) for name, value in vars(batch).items()}) for rows in (slice(n), slice(n, None))]


def counted(batches):
    """The batches, and a list that grows with each one taken."""
    taken = []
    return (taken.append(1) or b for b in batches), taken


def test_n_steps_are_n_updates_of_k_batches(tmp_path):
    ranker, log = make_ranker(), Log()
    optimizer = make_optimizer(ranker)
    batches, taken = counted(make_batches())
    result = train(ranker, tmp_path, optimizer, batches, log, steps=7, accumulate=3)
    assert (result.step, optimizer.updates, len(taken), result.examples) == (7, 7, 21, 7 * 3 * 16)
    assert list(log.steps) == list(range(1, 8))
    assert not ranker.training


def test_it_learns(tmp_path):
    ranker, log = make_ranker(dropout=0.0), Log()
    train(ranker, tmp_path, log=log, steps=150, batches=make_batches(rows=64))
    curve = log.curve("train/loss")
    assert sum(list(curve.values())[-10:]) < 0.8 * sum(list(curve.values())[:10])


def test_k_micro_batches_equal_one_batch_of_k_times_the_size(tmp_path):
    whole, parts = (make_ranker(batch_norm=False, dropout=0.0) for _ in range(2))
    logs = Log(), Log()
    big = list(itertools.islice(make_batches(rows=32), 6))
    train(whole, tmp_path / "a", batches=iter(big), log=logs[0], steps=6)
    train(parts, tmp_path / "b", batches=itertools.chain.from_iterable(map(halves, big)), log=logs[1], steps=6, accumulate=2)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    for step, values in logs[0].steps.items():
        assert logs[1].steps[step]["train/loss/reply"] == pytest.approx(values["train/loss/reply"], rel=1e-5)


def test_all_micro_batches_reach_the_update(tmp_path):
    """With labels that only the first of three micro-batches has."""

    def batches(flip):
        for k, batch in enumerate(make_batches()):
            if k == 0 and flip:
                batch.labels_BT = 1 - batch.labels_BT
            yield batch

    rankers = [make_ranker(dropout=0.0), make_ranker(dropout=0.0)]
    for ranker, flip in zip(rankers, (False, True), strict=True):
        train(ranker, tmp_path / str(flip), make_optimizer(ranker, ramp=0), batches(flip), steps=1, accumulate=3)
    assert not same(weights(rankers[0]), weights(rankers[1]))


def test_logs_losses_rates_and_pace(tmp_path):
    log = Log()
    train(make_ranker(), tmp_path, log=log, steps=25, log_every=10, log_norms=True)
    assert list(log.steps) == [10, 20, 25]
    assert {
        "train/loss",
        "train/loss/like",
        "lr/backbone",
        "lr/report",
        "perf/examples_per_s",
        "train/grad_norm",
        "train/param_norm",
    } <= log.steps[10].keys()
    by_task = [log.steps[20][f"train/loss/{task}"] for task in ("like", "reply", "report")]
    assert log.steps[20]["train/loss"] == pytest.approx(sum(by_task) / 3)


def test_a_logged_loss_is_the_mean_since_the_last_time_and_the_rate_that_of_the_update(tmp_path):
    each, some = Log(), Log()
    train(make_ranker(), tmp_path / "a", log=each, steps=6)
    train(make_ranker(), tmp_path / "b", log=some, steps=6, log_every=3)
    losses = each.curve("train/loss")
    assert some.curve("train/loss")[6] == pytest.approx((losses[4] + losses[5] + losses[6]) / 3)
    assert [each.steps[s]["lr/backbone"] for s in (1, 2, 3, 4)] == pytest.approx([0, 1e-2 / 3, 2e-2 / 3, 1e-2])


def poisoned(at, how):
    for k, batch in enumerate(make_batches()):
        if k == at:
            how(batch)
        yield batch


def test_a_non_finite_loss_ends_it_before_the_update(tmp_path):
    def spoil(batch):
        batch.weights_BT[0, 1] = float("nan")

    stopped, short = make_ranker(batch_norm=False), make_ranker(batch_norm=False)
    train(short, tmp_path / "a", steps=4)
    with pytest.raises(RecapError, match=r"step 5: the loss of reply nan is not finite.*backbone 0\.01, reply 0\.01"):
        train(stopped, tmp_path / "b", batches=poisoned(4, spoil), log_every=100)
    assert same(weights(short), weights(stopped))
    assert Checkpoints(tmp_path / "b").newest() is None


def test_where_looking_would_wait_the_device_skips_all_updates_from_there_on(tmp_path, monkeypatch):
    def spoil(batch):
        batch.weights_BT[0, 1] = float("nan")

    monkeypatch.setattr(loop, "SYNCHRONOUS", ())
    stopped, short, whole, deferred = (make_ranker(batch_norm=False) for _ in range(4))
    train(short, tmp_path / "a", steps=4)
    with pytest.raises(RecapError, match="step 5: the loss of reply nan is not finite"):
        train(stopped, tmp_path / "b", batches=poisoned(4, spoil), log_every=8)
    assert same(weights(short), weights(stopped))

    train(deferred, tmp_path / "c")
    monkeypatch.undo()
    train(whole, tmp_path / "d")
    assert same(weights(whole), weights(deferred))


def test_nothing_is_stored_or_evaluated_once_a_loss_was_not_finite(tmp_path, monkeypatch):
    def spoil(batch):
        batch.weights_BT[0, 1] = float("nan")

    monkeypatch.setattr(loop, "SYNCHRONOUS", ())
    for key in ("checkpoint_every", "evaluate_every"):
        with pytest.raises(RecapError, match="step 5"):
            train(make_ranker(), tmp_path, batches=poisoned(4, spoil), log_every=100, evaluate=pytest.fail, **{key: 6})
    assert Checkpoints(tmp_path).newest() is None


def test_an_infinite_loss_too(tmp_path):
    def spoil(batch):
        batch.weights_BT[:, 2] = 1e38
        batch.labels_BT[:, 2] = 1.0

    with pytest.raises(RecapError, match="step 3: the loss of report inf"):
        train(make_ranker(), tmp_path, batches=poisoned(2, spoil))


def test_evaluations_are_logged_and_leave_no_trace_in_training(tmp_path):
    plain, watched, log = make_ranker(), make_ranker(), Log()

    def evaluate(step):
        assert not watched.training
        torch.rand(step)
        return {"val/auroc/mean": step / 10}

    train(plain, tmp_path / "a")
    train(watched, tmp_path / "b", log=log, evaluate=evaluate, evaluate_every=4)
    assert log.curve("val/auroc/mean") == {4: 0.4, 8: 0.8, 10: 1.0}
    assert same(weights(plain), weights(watched))


def test_early_stopping_ends_it_and_restores_the_best(tmp_path):
    kept = {}
    values = {2: 0.5, 4: 0.8, 6: 0.7, 8: 0.6, 10: 0.9}
    ranker = make_ranker()

    def evaluate(step):
        kept[step] = weights(ranker)
        return {"val/auroc/mean": values[step]}

    stopping = EarlyStoppingConfig(patience=2)
    result = train(ranker, Checkpoints(tmp_path, keep=1), evaluate=evaluate, evaluate_every=2, early_stopping=stopping)
    assert (result.step, result.best_step, result.best_value, result.stopped_early, result.restored) == (8, 4, 0.8, True, True)
    assert same(weights(ranker), kept[4])
    assert [p.name for p in Checkpoints(tmp_path).all()] == ["step_00000004", "step_00000008"]
    assert Checkpoints(tmp_path).best().name == "step_00000004"


def test_without_a_number_to_watch_the_last_weights_stay(tmp_path):
    stopping = EarlyStoppingConfig(patience=9)
    result = train(make_ranker(), tmp_path, evaluate=lambda step: {"val/auroc/mean": math.nan}, evaluate_every=5, early_stopping=stopping)
    assert (result.best_step, result.restored, result.stopped_early) == (None, False, False)


def test_an_unknown_metric_is_an_error_at_the_first_evaluation(tmp_path):
    with pytest.raises(ConfigError, match="evaluated: val/rce/mean"):
        train(make_ranker(), tmp_path, evaluate=lambda step: {"val/rce/mean": 0.0}, evaluate_every=1, early_stopping=EarlyStoppingConfig())


def test_data_that_ends_is_an_error(tmp_path):
    with pytest.raises(DataError, match="step 3: the training data ended after 2 batches"):
        train(make_ranker(), tmp_path, batches=itertools.islice(make_batches(), 2))


def test_bf16_learns_with_fp32_weights(tmp_path):
    ranker, log = make_ranker(dropout=0.0), Log()
    result = train(ranker, tmp_path, log=log, steps=30, precision="bf16")
    assert result.step == 30
    assert {p.dtype for p in ranker.parameters()} == {torch.float32}
    curve = log.curve("train/loss")
    assert curve[30] < curve[1]


def test_fp16_is_scaled_and_its_scale_is_stored(tmp_path):
    """Its arithmetic also runs on a CPU, where `choose_device` refuses it for being slow."""
    ranker, log = make_ranker(dropout=0.0), Log()
    train(ranker, tmp_path, log=log, steps=30, precision="fp16", log_norms=True)
    assert log.curve("train/loss")[30] < log.curve("train/loss")[1]
    assert log.curve("train/grad_norm")[1] < 100
    assert read_meta(Checkpoints(tmp_path).newest())["scaler"]["scale"] > 1


def test_the_process_is_seeded_and_set_up(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        draws = []
        for _ in range(2):
            prepare_torch(3, TrainerConfig(steps=1, batch_size=2, threads=1))
            draws.append((torch.rand(1).item(), np.random.rand(), random.random()))
        assert draws[0] == draws[1]
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
        prepare_torch(3, TrainerConfig(steps=1, batch_size=2, deterministic=False))
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        assert choose_device(TrainerConfig(steps=1, batch_size=2)).type == "cuda"
        return
    assert choose_device(TrainerConfig(steps=1, batch_size=2)).type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device(TrainerConfig(steps=1, batch_size=2, device="cuda"))
    with pytest.raises(ConfigError, match="fp16"):
        choose_device(TrainerConfig(steps=1, batch_size=2, precision="fp16"))


def test_lines_instead_of_a_bar_where_nobody_watches(tmp_path, capsys):
    train(make_ranker(), tmp_path, steps=20, progress=True)
    err = capsys.readouterr().err
    assert err.startswith("step 20/20  loss ") and err.count("\n") == 1
    state = capture()
    train(make_ranker(), tmp_path, steps=2, progress=False)
    assert capsys.readouterr().err == "" and state != capture()


@pytest.mark.parametrize(
    "wrong",
    [{k: 0} for k in ("steps", "accumulate", "log_every", "checkpoint_every", "evaluate_every", "keep_checkpoints", "threads")]
    + [
        {"batch_size": 1},
        {"loss_reduction": "max", "accumulate": 2},
        {"precision": "fp16", "device": "cpu"},
        {"evaluate_every": None, "early_stopping": EarlyStoppingConfig()},
    ],
)
def test_wrong_values_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be "):
        TrainerConfig(**{"steps": 1, "batch_size": 2, **wrong})
