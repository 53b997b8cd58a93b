"""Whole runs, as a user starts them: what they print, leave in their folder, and say in MLflow's store."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recap_exp
from recap_exp.cli import main
from recap_exp.composition import compose
from recap_exp.errors import CheckpointError, ConfigError, DataError
from recap_exp.paths import conf_dir

SMALL = [
    "data.source.rows={train: 1500, val: 400, test: 400}",
    "trainer.steps=12",
    "trainer.batch_size=64",
    "trainer.evaluate_every=6",
    "trainer.log_every=3",
    "evaluation.pictures=[]",
]
NO_STORE = "tracking=none"
REAL_DATA = os.environ.get("RECAP_DATA")
"""Where the user has data that this repository may not hold."""


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small run recorded in a real store, shared by the tests that only look at it."""
    folder = tmp_path_factory.mktemp("outputs")
    os.environ["RECAP_OUTPUTS"] = str(folder)
    result = recap_exp.run(compose("train", SMALL))
    return folder, result


@pytest.fixture
def store(finished, monkeypatch):
    """That run's outputs/ as this test's."""
    monkeypatch.setenv("RECAP_OUTPUTS", str(finished[0]))
    return finished


def test_a_run_leaves_metrics_of_every_stage_under_their_names(store):
    _, result = store
    assert {"val/auroc/is_favorited", "val/auroc/mean", "test/rce/mean", "test/auroc_of_truth/is_replied", "score/mean"} <= set(
        result.metrics
    )
    assert result.objective == result.metrics["val/auroc/mean"]
    assert math.isfinite(result.metrics["test/auroc/mean"])


def test_the_store_holds_params_metrics_by_step_artifacts_and_datasets(store):
    from mlflow.tracking import MlflowClient

    folder, result = store
    card = json.loads((result.folder / "run.json").read_text())
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.get_run(card["mlflow_run_id"])
    assert client.get_experiment(run.info.experiment_id).name == "planted"
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer.steps"] == "12"
    assert run.data.tags["recap.run"] == result.run_id
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [m.step for m in losses] == [3, 6, 9, 12]
    points = [m.step for m in client.get_metric_history(run.info.run_id, "val/auroc/mean")]
    assert len(points) == len(set(points))
    assert {6, 12} <= set(points)
    for name, value in result.metrics.items():
        if math.isfinite(value):
            assert run.data.metrics[name] == pytest.approx(value), name
    assert {d.dataset.name for d in run.inputs.dataset_inputs} == {"planted"}
    paths = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "overrides.txt", "environment", "evaluation", "score", "checkpoint", "model"} <= paths


def test_the_checkpoint_lies_on_the_disk_once(store):
    _, result = store
    files = [p for p in (result.folder / "checkpoints").rglob("*.distcp") if p.is_file()]
    assert files
    assert any(p.stat().st_nlink > 1 for p in files)


def test_the_logged_model_predicts_what_the_run_predicts(store):
    import mlflow.pyfunc

    _, result = store
    run = recap_exp.load_run(result.run_id)
    from recap_exp.data.prepare import prepare

    dataset = prepare(run.config.data, [t.label for t in run.config.tasks.values()])
    said = next(run.predict(run.ranker(), dataset, "test", batch_size=50))
    rows = next(dataset.read("test"))
    served = mlflow.pyfunc.load_model(str(result.folder / "model"))
    answer = served.predict({name: rows.blocks[name][:50] for name, block in dataset.schema.blocks.items() if block.kind != "discrete"})
    np.testing.assert_allclose(answer["prob/is_favorited"], said.probs_NT[:, 0], atol=1e-6)


def test_a_run_is_found_by_either_id_their_beginnings_and_latest(store):
    _, result = store
    card = json.loads((result.folder / "run.json").read_text())
    for text in (result.run_id, result.run_id[:-2], card["mlflow_run_id"], card["mlflow_run_id"][:12], "latest"):
        assert recap_exp.load_run(text).folder.id == result.run_id
    with pytest.raises(CheckpointError, match="no run 'nonsense'"):
        recap_exp.load_run("nonsense")


def test_scoring_anew_gives_the_runs_own_score_and_other_weights_another(store, capsys):
    folder, result = store
    assert run_cli("score", f"run={result.run_id}", NO_STORE) == 0
    assert run_cli("score", "run=latest", "scoring=home_2026", NO_STORE) == 0
    assert "left out" in capsys.readouterr().out
    scored = sorted((folder / "runs").glob("*/run.json"))
    records = [json.loads(line) for line in (scored[-2].parent / "records.jsonl").read_text().splitlines()]
    means = [r["v"]["score/mean"] for r in records if r["k"] == "metrics" and "score/mean" in r["v"]]
    assert means == [pytest.approx(result.metrics["score/mean"])]


def test_other_data_without_labels_can_be_scored(store, tmp_path, capsys):
    assert run_cli("data", "data=planted", SMALL[0], "data.source.seed=9", f"output.path={tmp_path}/fresh", "output.splits=[test]") == 0
    for file in (tmp_path / "fresh").rglob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.drop_columns([c for c in table.column_names if "recap.engagement" in c]), file)
    blocks = {
        name: {"kind": kind, "columns": [name]}
        for name, kind in (
            ("continuous", "continuous"),
            ("binary", "binary"),
            ("user_embedding", "embedding"),
            ("user_eng_embedding", "embedding"),
            ("author_embedding", "embedding"),
        )
    }
    override = json.dumps({n: {**b, "width": None, "use": None} for n, b in blocks.items()}).replace('"', "")
    code = run_cli(
        "score",
        "run=latest",
        "data=parquet",
        "data.name=fresh",
        "~data.source.splits",
        f"+data.source.splits={{fresh: {{files: ['{tmp_path}/fresh/**/*.parquet'], where: {{}}}}}}",
        "~data.blocks",
        f"+data.blocks={override}",
        "~data.ids",
        "data.labels=[]",
        NO_STORE,
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "score of fresh" in printed.out


def test_two_runs_with_one_seed_log_identical_metrics(outputs):
    def logged(*overrides: str) -> dict[tuple[str, int | None], float]:
        result = recap_exp.run(compose("train", [*SMALL, NO_STORE, "model.tower.dropout=0.1", *overrides]))
        records = [json.loads(line) for line in (result.folder / "records.jsonl").read_text().splitlines()]
        return {
            (name, r.get("step")): value
            for r in records
            if r["k"] == "metrics"
            for name, value in r["v"].items()
            if not name.startswith("perf/") and value == value
        }

    first = logged()
    assert first == logged()
    assert first != logged("seed=1")


@pytest.mark.parametrize("sharing", ["share_all", "share_none", "share_partial"])
@pytest.mark.parametrize("model", ["masknet_parallel", "masknet_serial", "mlp"])
def test_every_small_model_trains(model, sharing, outputs):
    result = recap_exp.run(compose("train", [*SMALL, NO_STORE, f"model={model}", f"model.sharing={sharing}"]))
    assert math.isfinite(result.metrics["train/steps"])
    assert math.isfinite(result.metrics["test/loss/mean"])


@pytest.mark.parametrize("optimizer", sorted(p.stem for p in (conf_dir() / "optimizer").glob("*.yaml") if not p.stem.startswith("twhin")))
def test_every_optimiser_trains(optimizer, outputs):
    result = recap_exp.run(compose("train", [*SMALL, NO_STORE, f"optimizer={optimizer}"]))
    assert math.isfinite(result.metrics["test/loss/mean"])


def test_the_original_run_at_small_size(outputs):
    result = recap_exp.run(
        compose(
            "train", ["experiment=original_local", "model=masknet_parallel", NO_STORE, "data.source.rows={train: 256, val: 64, test: 64}"]
        )
    )
    assert result.metrics["train/steps"] == 10
    assert "is_favorited/rce_calibrated/is_favorited" in result.metrics


def test_the_fork_study_at_small_size_says_what_each_result_means(outputs, capsys):
    result = recap_exp.run(compose("train", ["experiment=fork_study", "model=masknet_parallel", "trainer.steps=20", NO_STORE]))
    printed = capsys.readouterr().out
    assert "candidate 0" in printed
    assert "score =" in printed
    assert "trained on" in printed
    assert {"score_train/auc_between_groups", "score_fresh/p_welch"} <= set(result.metrics)
    assert (result.folder / "artifacts/score/words.txt").read_text().strip()


def test_warm_start_begins_where_another_run_ended(outputs):
    first = recap_exp.run(compose("train", [*SMALL, NO_STORE]))
    second = recap_exp.run(
        compose("train", [*SMALL, NO_STORE, f"trainer.warm_start={first.run_id}", "trainer.steps=1", "trainer.evaluate_every=1"])
    )
    assert second.metrics["val/loss/mean"] == pytest.approx(first.metrics["val/loss/mean"], rel=0.05)


def test_strata_by_extra_id_or_discrete_column(outputs):
    cfg = compose("train", [*SMALL, NO_STORE, "evaluation.strata=[discrete.3,author_id]"])
    result = recap_exp.run(cfg)
    table = json.loads((result.folder / "artifacts/evaluation/test_strata.json").read_text())
    strata = {row[table["columns"].index("stratum")] for row in table["data"]}
    assert strata == {"discrete.3", "author_id"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.strata=[discrete.99]", "has no 'discrete.99'"),
        ("evaluation.strata=[autor_id]", "did you mean 'author_id'"),
        ("model.blocks=[contnuous]", "did you mean 'continuous'"),
        ("data.weight=w", "data.weight: 'w'"),
    ],
)
def test_a_column_that_the_data_lacks_is_said_before_anything_runs(override, said, outputs):
    with pytest.raises(ConfigError, match=said):
        recap_exp.run(compose("train", [*SMALL, NO_STORE, override]))
    assert not list(outputs.glob("runs/*"))


def test_a_weight_of_each_row_weighs_training_and_metrics(outputs, tmp_path):
    assert run_cli("data", "data=planted", SMALL[0], f"output.path={tmp_path}/set") == 0
    for file in (tmp_path / "set").rglob("*.parquet"):
        table = pq.read_table(file)
        half = (np.arange(len(table)) % 2).astype(np.float64)
        pq.write_table(table.append_column("w", pa.array(half)), file)
    kinds = {"continuous": "continuous", "binary": "binary", "user_embedding": "embedding"}
    blocks = ", ".join(f"{name}: {{kind: {kind}, columns: [{name}], width: null, use: null}}" for name, kind in kinds.items())
    splits = ", ".join(f"{name}: {{files: ['{name}/*.parquet'], where: {{}}}}" for name in ("train", "val", "test"))
    mine = [
        "data=parquet",
        f"data.source.folder={tmp_path}/set",
        f"data.source.splits={{{splits}}}",
        "~data.blocks",
        f"+data.blocks={{{blocks}}}",
        "+data.extras.w=w",
    ]
    whole = recap_exp.run(compose("train", [*SMALL[1:], NO_STORE, *mine]))
    weighed = recap_exp.run(compose("train", [*SMALL[1:], NO_STORE, *mine, "data.weight=w"]))
    assert weighed.metrics["test/ctr/is_favorited"] != whole.metrics["test/ctr/is_favorited"]
    odd = pq.read_table(next((tmp_path / "set/test").glob("*.parquet")))["recap.engagement.is_favorited"].to_numpy()[1::2]
    assert weighed.metrics["test/ctr/is_favorited"] == pytest.approx(odd.mean())


def test_python_runs_every_command_s_configuration(store):
    reports = recap_exp.run(compose("score", ["run=latest", NO_STORE]))
    assert reports[0].partition == "test"


def test_the_main_job_comes_near_the_truth(outputs):
    """The promise of the README: every task with 200 positives reaches 0.95 of the AUC of the true probabilities."""
    metrics = recap_exp.run(compose("train", [NO_STORE, "evaluation.pictures=[]"])).metrics
    ratios = {t: metrics[f"test/auroc_ratio/{t}"] for t in compose("train").tasks if metrics[f"test/positives/{t}"] >= 200}
    assert len(ratios) >= 9
    assert min(ratios.values()) >= 0.95, ratios


def test_where_there_is_nothing_to_find_nothing_is_found(outputs):
    rows = "data.source.rows={train: 20000, val: 2000, test: 20000}"
    cfg = compose("train", ["experiment=null_labels", NO_STORE, rows, "trainer.steps=100", "evaluation.pictures=[]"])
    metrics = recap_exp.run(cfg).metrics
    for task in cfg.tasks:
        n, positives = 20000, metrics[f"test/positives/{task}"]
        error = math.sqrt((n + 1) / (12 * positives * (n - positives)))  # of an AUC that knows nothing
        assert abs(metrics[f"test/auroc/{task}"] - 0.5) < 4 * error, task


@pytest.mark.skipif(not REAL_DATA or not list(Path(REAL_DATA).glob("deskdrop/users_interactions.csv*")), reason="needs the Deskdrop log")
def test_the_real_log_reaches_its_figures(outputs, monkeypatch):
    monkeypatch.setenv("RECAP_DATA", str(REAL_DATA))
    metrics = recap_exp.run(compose("train", ["experiment=deskdrop", NO_STORE, "evaluation.pictures=[]"])).metrics
    assert metrics["test/auroc/mean"] >= 0.80
    assert min(metrics[f"test/auroc/{task}"] for task in ("like", "bookmark", "follow", "comment")) >= 0.75


def test_ctrl_c_ends_a_run_marked_as_killed(outputs):
    command = [sys.executable, "-m", "recap_exp", "train", *SMALL, "trainer.steps=100000", "trainer.evaluate_every=100000", NO_STORE]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while not any('"train/loss"' in p.read_text() for p in outputs.glob("runs/*/records.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "stopped by Ctrl-C" in errors
    (card,) = outputs.glob("runs/*/run.json")
    assert json.loads(card.read_text())["status"] == "KILLED"


def test_data_that_fails_leaves_no_run_behind(outputs):
    cfg = compose("train", [*SMALL, NO_STORE, "data=dataset", "data.source.path=/nowhere"][2:])
    with pytest.raises(DataError, match="/nowhere"):
        recap_exp.run(cfg)
    assert not list(outputs.glob("runs/*"))
