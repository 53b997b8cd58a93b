"""What MLflow's interface is told to show: as the views that are stored with an experiment."""

import json
from pathlib import Path
from typing import Any

from recap_exp.tracking.send import send
from recap_exp.tracking.sender import sent
from recap_exp.tracking.tracker import SweepView
from recap_exp.tracking.views import TAG, columns, experiment_view, packed, sweep_view, unpacked

SWEEP = {"run": "s", "varied": ["model", "optimizer.backbone.rate"], "objectives": {"val/loss/mean": "minimize"}}


def test_columns_are_params_and_telling_means() -> None:
    metrics = ["test/ctr/mean", "train/loss/mean", "val/auroc/like", "val/auroc/mean", "perf/x/mean", "score/mean"]
    assert columns(["seed"], metrics) == ["params.`seed`", "metrics.`val/auroc/mean`", "metrics.`score/mean`", "metrics.`test/ctr/mean`"]


def test_columns_of_a_graph_s_embeddings_are_how_true_ends_rank():
    metrics = [
        "train/loss",
        "val/mrr",
        "val/mrr_error",
        "test/mrr",
        "test/mrr/like",
        "test/hits_at_10",
        "test/baseline_mrr/degree",
        "perf/train_seconds",
    ]
    found = [c.split("`")[1] for c in columns([], metrics)]
    assert found == ["test/mrr", "val/mrr", "test/hits_at_10", "test/baseline_mrr/degree"]


def test_an_experiment_keeps_earlier_columns_that_fit() -> None:
    view = experiment_view(["params.`b`", "metrics.`m`"], {"selectedColumns": ["params.`a`", *(f"metrics.`{i}`" for i in range(20))]})
    assert view["selectedColumns"][:3] == ["params.`b`", "params.`a`", "metrics.`m`"]
    assert len(view["selectedColumns"]) == 14
    assert view["columnOrder"][2:-1] == view["selectedColumns"]
    assert view["columnWidths"].keys() == set(view["selectedColumns"])


def test_a_sweep_shows_its_jobs_the_best_first_with_few_charts() -> None:
    first = sweep_view(SWEEP, ["train/loss", "val/loss/mean", "val/loss/like"], {})
    view = sweep_view(SWEEP, ["lr/backbone"], first)
    assert view["searchFilter"] == "tags.`recap.sweep` = 's'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/loss/mean`", True)
    assert view["selectedColumns"] == ["params.`model`", "params.`optimizer.backbone.rate`", "metrics.`val/loss/mean`"]
    shown = [(s["name"], s["display"]) for s in view["compareRunSections"]]
    assert shown == [("chosen", True), ("lr", False), ("train", False), ("val/loss", False)]
    assert [(c["type"], c.get("metricKey")) for c in view["compareRunCharts"]] == [
        ("PARALLEL", None),
        ("BAR", "val/loss/mean"),
        ("LINE", "val/loss/mean"),
        ("LINE", "train/loss"),
    ]
    assert sweep_view(SWEEP, [], view) == view


def test_a_sweep_without_an_objective_is_in_order_of_time() -> None:
    view = sweep_view({"run": "s", "varied": ["scoring"], "objectives": {}}, ["score/mean"], {})
    assert (view["orderByKey"], view["orderByAsc"]) == ("attributes.start_time", True)
    assert view["selectedColumns"] == ["params.`scoring`", "metrics.`score/mean`"]


def test_a_view_is_shortened_as_the_interface_does() -> None:
    view = sweep_view(SWEEP, [f"val/{i}/{task}" for i in range(40) for task in "ab"], {})
    assert len(json.dumps(view)) > 5000 > len(packed(view))
    assert unpacked(packed(view)) == unpacked(json.dumps(view)) == view


def test_a_sweep_in_a_store(store_ready: Path, open_run: Any, no_sender: None) -> None:
    from mlflow import MlflowClient

    sweep = open_run("s", info={"sweep": SweepView(varied=["model"], objectives={"val/auroc/mean": "maximize"})})
    for number, model in enumerate(("mlp", "masknet")):
        job = open_run(f"job{number}", info={"parent": "s", "tags": {"recap.sweep": "s"}})
        job.params({"model": model})
        job.metrics({"val/auroc/mean": 0.5 + number / 10, "val/auroc/like": 0.5, "train/loss": 1.0}, 1)
        job.finish()
    sweep.finish()
    assert send("s") == 0
    client = MlflowClient(f"sqlite:///{store_ready}/mlflow.db")
    experiment = sent(store_ready / "runs/s")["experiment_id"]
    assert unpacked(client.get_experiment(experiment).tags[f"{TAG}recap-s"])["selectedColumns"] == [
        "params.`model`",
        "metrics.`val/auroc/mean`",
    ]
    assert send() == 0
    view = unpacked(client.get_experiment(experiment).tags[f"{TAG}recap-s"])
    assert [s["name"] for s in view["compareRunSections"]] == ["chosen", "train", "val/auroc"]
    order = [f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"]
    found = client.search_runs([experiment], filter_string=view["searchFilter"], order_by=order)
    assert [run.data.params["model"] for run in found] == ["masknet", "mlp"]
