from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions_made import TASKS, predictions, split, truths
from rich.console import Console
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from recap_exp.errors import ConfigError, DataError, RecapError
from recap_exp.evaluation.config import PartitionConfig
from recap_exp.evaluation.evaluate import MAX_STRATA, evaluate, judge
from recap_exp.evaluation.outcomes import Collector
from recap_exp.evaluation.report import metrics_table
from recap_exp.metrics.cross_entropy import NRCE, RCE
from recap_exp.metrics.metric import OneClassWarning
from recap_exp.tasks import Rates

ALL = PartitionConfig(split="val")


def test_every_task_has_its_own_numbers():
    """Each head alone against an independent computation: no head gets another's numbers."""
    p = predictions()
    metrics = evaluate([p], "val", ALL).metrics
    assert metrics["val/examples"] == 2000
    for t, task in enumerate(TASKS):
        y, probs = p.labels_NT[:, t], p.probs_NT[:, t].astype(np.float64)
        expected = {
            "auroc": roc_auc_score(y, probs),
            "average_precision": average_precision_score(y, probs),
            "loss": log_loss(y, probs),
            "rce": RCE().update(probs, y).compute(),
            "nrce": NRCE().update(probs, y).compute(),
            "ctr": y.mean(dtype=float),
            "pctr": probs.mean(),
            "calibration": probs.mean() / y.mean(dtype=float),
            "positives": y.sum(),
            "precision": y[probs > 0.5].mean() if (probs > 0.5).any() else np.nan,
            "recall": (probs > 0.5)[y > 0].mean(),
        }
        for name, value in expected.items():
            assert metrics[f"val/{name}/{task}"] == pytest.approx(value, rel=1e-5, nan_ok=True), (name, task)
    assert len({metrics[f"val/auroc/{task}"] for task in TASKS}) == 10
    assert metrics["val/auroc/mean"] == pytest.approx(np.mean([metrics[f"val/auroc/{task}"] for task in TASKS]))
    assert "val/positives/mean" not in metrics and "val/ctr/mean" not in metrics


@pytest.mark.parametrize("changed", range(10))
def test_one_head_moves_one_task(changed):
    p = predictions(n=300)
    before = evaluate([p], "val", ALL).tasks
    p.probs_NT[:, changed] = 1 - p.probs_NT[:, changed]
    after = evaluate([p], "val", ALL).tasks
    for t, task in enumerate(TASKS):
        if t == changed:
            assert after[task]["auroc"] == pytest.approx(1 - before[task]["auroc"], abs=1e-6)
        else:
            np.testing.assert_equal(after[task], before[task])


@given(cuts=st.lists(st.integers(0, 300), max_size=5).map(sorted), weighted=st.booleans())
@settings(max_examples=8, deadline=None)
def test_chunks_and_processes_make_no_difference(cuts, weighted):
    rng = np.random.default_rng(1)
    whole = predictions(
        n=300,
        weights_NT=rng.random((300, 10)).astype(np.float32) + 0.1 if weighted else None,
        truths_NT=truths(300),
        extras={"device": rng.choice(["a", "b", "c"], 300).astype(object)},
    )
    at_once = evaluate([whole], "val", ALL, strata=["device"])
    chunked = evaluate(split(whole, *cuts), "val", ALL, strata=["device"])
    merged = Collector("val", ALL, ["device"])
    for part in split(whole, *cuts):
        merged.merge(Collector("val", ALL, ["device"]).update(part))
    for other in (chunked, judge(merged)):
        assert other.metrics == pytest.approx(at_once.metrics, rel=1e-9, nan_ok=True)
        assert [r["value"] for r in other.strata] == [r["value"] for r in at_once.strata]
        assert [r["rce"] for r in other.strata] == pytest.approx([r["rce"] for r in at_once.strata], nan_ok=True)


def test_weights_count_rows():
    """A row of weight 3 is three rows."""
    p = predictions(n=400)
    times = np.random.default_rng(0).integers(1, 4, 400)
    rows = np.repeat(np.arange(400), times)
    weighted = predictions(n=400, weights_NT=np.repeat(times[:, None], 10, 1).astype(np.float32))
    fields = {name: getattr(p, name)[rows] for name in ("probs_NT", "calibrated_NT", "labels_NT")}
    repeated = evaluate([type(p)(tasks=TASKS, logits_NT=p.logits_NT[rows], **fields)], "val", ALL).metrics
    for name, value in evaluate([weighted], "val", ALL).metrics.items():
        if not name.startswith(("val/positives", "val/examples")):
            assert value == pytest.approx(repeated[name], rel=1e-6, nan_ok=True), name


def test_a_partition_made_for_one_task_reports_that_task_calibrated():
    p = predictions()
    p.calibrated_NT = 0.01 * p.probs_NT / (1 - p.probs_NT + 0.01 * p.probs_NT)
    cfg = PartitionConfig(split="val", tasks=["task_3"], rates={"task_3": Rates(positive=1.0, negative=0.01)})
    evaluation = evaluate([p], "for_3", cfg)
    assert list(evaluation.tasks) == ["task_3"]
    metrics, t = evaluation.metrics, 3
    assert metrics["for_3/rce_calibrated/task_3"] == pytest.approx(RCE().update(p.calibrated_NT[:, t], p.labels_NT[:, t]).compute())
    assert metrics["for_3/pctr_calibrated/task_3"] == pytest.approx(p.calibrated_NT[:, t].mean(), rel=1e-4)
    assert metrics["for_3/rce/task_3"] == pytest.approx(RCE().update(p.probs_NT[:, t], p.labels_NT[:, t]).compute())
    assert {name.split("/")[2] for name in metrics if name.count("/") == 2} == {"task_3", "mean"}
    assert not any("calibrated" in name for name in evaluate([p], "val", ALL).metrics)


def test_tasks_keep_the_order_of_the_run():
    cfg = PartitionConfig(split="val", tasks=["task_5", "task_2"])
    assert list(evaluate([predictions(n=100)], "val", cfg).tasks) == ["task_2", "task_5"]


def test_a_task_with_one_class_is_out_of_the_means_and_said():
    p = predictions(n=500)
    p.labels_NT[:, 7] = 0
    with pytest.warns(OneClassWarning, match="val: only one class of task_7:") as caught:
        evaluation = evaluate([p], "val", ALL)
    assert len(caught) == 1 and evaluation.notes == [str(caught[0].message)]
    assert all(np.isnan(evaluation.tasks["task_7"][name]) for name in ("auroc", "rce", "nrce", "average_precision", "calibration"))
    others = [m["auroc"] for task, m in evaluation.tasks.items() if task != "task_7"]
    assert evaluation.metrics["val/auroc/mean"] == pytest.approx(np.mean(others))
    assert evaluation.tasks["task_7"]["loss"] > 0


def test_against_the_truth():
    p = predictions(truths_NT=truths())
    p.truths_NT[:, 4] = np.nan  # a task whose truth is unknown
    tasks = evaluate(split(p, 700), "test", ALL).tasks
    assert "auroc_of_truth" not in tasks["task_4"]
    for t in (0, 9):
        truth, y, probs = p.truths_NT[:, t], p.labels_NT[:, t], p.probs_NT[:, t].astype(np.float64)
        m = tasks[TASKS[t]]
        assert m["auroc_of_truth"] == pytest.approx(roc_auc_score(y, truth), abs=1e-6)
        assert m["auroc_ratio"] == pytest.approx(roc_auc_score(y, probs) / roc_auc_score(y, truth), abs=1e-6)
        assert m["rce_of_truth"] == pytest.approx(RCE().update(truth, y).compute(), abs=1e-4)
        assert m["truth_mae"] == pytest.approx(np.abs(probs - truth).mean(), rel=1e-5)
        assert m["truth_rmse"] == pytest.approx(np.sqrt(((probs - truth) ** 2).mean()), rel=1e-5)
        assert m["truth_calibration"] == pytest.approx(probs.mean() / truth.mean(), rel=1e-5)
    perfect = predictions(truths_NT=truths(), probs_NT=truths().astype(np.float32))
    for m in evaluate([perfect], "test", ALL).tasks.values():
        assert m["auroc_ratio"] == 1 and m["truth_rmse"] < 1e-7


def test_without_signal_every_auroc_is_one_half_within_its_error():
    rng = np.random.default_rng(3)
    null = predictions(labels_NT=(rng.random((2000, 10)) < 0.1).astype(np.float32))
    z = [m["auroc_z"] for m in evaluate([null], "val", ALL).tasks.values()]
    assert max(np.abs(z)) < 3.5
    assert all(m["auroc_z"] > 3.5 for m in list(evaluate([predictions()], "val", ALL).tasks.values())[3:])  # the stronger signals


def test_strata_are_a_table():
    device = np.where(np.arange(2000) % 4 == 0, "tv", "phone").astype(object)
    p = predictions(extras={"device": device, "row": np.arange(2000)})
    evaluation = evaluate(split(p, 500, 501), "val", ALL, strata=["device", "row"])
    assert not any("device" in name for name in evaluation.metrics)
    rows = [r for r in evaluation.strata if r["task"] == "task_2" and r["stratum"] == "device"]
    assert [(r["value"], r["examples"]) for r in rows] == [("phone", 1500), ("tv", 500)]
    tv = device == "tv"
    assert rows[1]["auroc"] == pytest.approx(roc_auc_score(p.labels_NT[tv, 2], p.probs_NT[tv, 2]))
    assert rows[1]["rce"] == pytest.approx(RCE().update(p.probs_NT[tv, 2], p.labels_NT[tv, 2]).compute())
    assert len({len(column) for column in evaluation.strata_table().values()}) == 1
    assert len({r["value"] for r in evaluation.strata if r["stratum"] == "row"}) == MAX_STRATA
    assert evaluation.notes == [f"val: the {MAX_STRATA} most frequent of 2000 values of row are reported"]


@pytest.mark.parametrize(
    ("cfg", "strata", "change", "error", "message"),
    [
        ({"tasks": ["task_33"]}, [], {}, ConfigError, r"evaluation.partitions.val: unknown task 'task_33' \(did you mean 'task_3'\?\)"),
        ({"rates": {"nope": Rates(negative=0.5)}}, [], {}, ConfigError, "unknown task 'nope'"),
        ({}, ["devize"], {"extras": {"device": np.zeros(50)}}, ConfigError, r"'devize' is no extra .* \(did you mean 'device'\?\)"),
        ({}, ["x"], {}, ConfigError, "'x' is no extra of the data; it has none"),
        ({}, [], {"labels_NT": None}, DataError, "partition val has no labels"),
    ],
)
def test_what_does_not_fit_is_named(cfg, strata, change, error, message):
    with pytest.raises(error, match=message):
        evaluate([predictions(n=50, **change)], "val", PartitionConfig(split="val", **cfg), strata=strata)


def test_a_diverged_model_and_an_empty_split_are_errors():
    p = predictions(n=50)
    p.logits_NT[[3, 8], 1] = np.nan
    with pytest.raises(RecapError, match="partition val: 2 of 50 logits of task_1 are not finite"):
        evaluate([p], "val", ALL)
    with pytest.raises(DataError, match="partition val has no rows: split 'val' is empty"):
        evaluate([], "val", ALL)


def test_extreme_probabilities_and_constant_ones_stay_finite():
    p = predictions(n=100, tasks=TASKS[:2])
    p.labels_NT[:2] = [[0, 0], [1, 1]]
    p.logits_NT[:, 0] = np.where(p.labels_NT[:, 0] > 0, -200, 200)
    p.probs_NT[:, 0] = p.labels_NT[:, 0] < 0.5
    p.probs_NT[:, 1] = 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tasks = evaluate([p], "val", ALL).tasks
    assert tasks["task_0"]["auroc"] == 0 and tasks["task_0"]["loss"] == 200 and np.isfinite(tasks["task_0"]["rce"])
    assert tasks["task_1"]["auroc"] == 0.5 and tasks["task_1"]["auroc_se"] == 0 and np.isnan(tasks["task_1"]["auroc_z"])


def test_tables_have_a_row_a_task_and_show_the_error():
    p = predictions(truths_NT=truths())
    p.labels_NT[:, 9] = 0
    with pytest.warns(OneClassWarning):
        evaluation = evaluate([p], "val", ALL)
    table = evaluation.table()
    assert table["task"] == list(TASKS) and {len(column) for column in table.values()} == {10}
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(metrics_table(evaluation))
    text = console.export_text()
    m = evaluation.tasks["task_2"]
    assert f"{m['auroc']:.3f}±{m['auroc_se']:.3f}" in text and f"{m['auroc_ratio']:.3f}" in text
    assert all(task in text for task in (*TASKS, "mean")) and "only one class of task_9" in text
    assert "–" in next(line for line in text.splitlines() if line.startswith(" task_9"))
