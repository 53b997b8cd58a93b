"""A graph's embeddings from the command line to the store: trained, resumed, rerun, swept, read by a ranker."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_experiment import NO_STORE, run_cli

import recap_exp
from recap_exp.composition import compose, stored_training
from recap_exp.data.prepare import prepare
from recap_exp.errors import ConfigError
from recap_exp.rerun import points
from recap_exp.runs import RunFolder, find_run
from recap_exp.training.checkpoint import Checkpoints
from recap_exp.twhin import recipe
from recap_exp.twhin.pin import pinned_tables

SMALL = [
    "experiment=twhin_planted",
    "data.source.users=60",
    "data.source.posts=80",
    "data.source.communities=4",
    "data.source.edges={train: 1500, val: 150, test: 150}",
    "model.dim=8",
    "trainer.steps=24",
    "trainer.batch_size=100",
    "trainer.evaluate_every=8",
    "trainer.log_every=4",
]
QUICK = [*SMALL, "evaluation.pictures=false", NO_STORE]


@pytest.fixture(scope="module")
def outputs_of_one(tmp_path_factory) -> Path:
    """outputs/ with one whole run, in a store."""
    folder = tmp_path_factory.mktemp("graph") / "outputs"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RECAP_OUTPUTS", str(folder))
        recap_exp.run(compose("train", SMALL))
    return folder


@pytest.fixture
def one(outputs_of_one, monkeypatch) -> RunFolder:
    """That run."""
    monkeypatch.setenv("RECAP_OUTPUTS", str(outputs_of_one))
    return find_run("latest", of_graph=True)


def test_the_store_has_metrics_by_step_tables_pictures_and_the_graph(one, outputs_of_one):
    client = MlflowClient(f"sqlite:///{outputs_of_one}/mlflow.db")
    run = client.get_run(one.card["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert {"val/mrr", "test/mrr", "test/hits_at_10", "test/mrr/like", "test/baseline_mrr/degree", "model/parameters"} <= set(
        run.data.metrics
    )
    assert [m.step for m in client.get_metric_history(run.info.run_id, "val/mrr")][:3] == [8, 16, 24]
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 6
    assert run.data.params["model.dim"] == "8"
    assert {i.dataset.name for i in run.inputs.dataset_inputs} == {"planted_graph"}
    found = {f.path for place in ("evaluation", "maps", "evaluation/test") for f in client.list_artifacts(run.info.run_id, place)}
    assert {"evaluation/test.json", "evaluation/test/degree.png", "maps/user.png", "maps/post.png"} <= found


def test_it_finds_the_planted_structure(one):
    metrics = {name: value for (name, _), value in points(one.path).items()}
    assert metrics["test/mrr"] > 1.5 * metrics["test/baseline_mrr/random"]
    assert math.isfinite(metrics["test/mrr_error"])


def test_a_rerun_is_identical(one, outputs_of_one, capsys):
    assert run_cli("rerun", one.id, NO_STORE, "evaluation.pictures=false") == 0
    assert "identical" in capsys.readouterr().out


def test_interrupted_and_taken_up_equals_uninterrupted(outputs, monkeypatch):
    whole = recap_exp.run(compose("train", QUICK))
    save = Checkpoints.save

    def save_and_die(self, model, optimizer, state):
        path = save(self, model, optimizer, state)
        if state.step == 16:
            raise KeyboardInterrupt
        return path

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            recap_exp.run(compose("train", QUICK))
    resumed = recap_exp.run(compose("train", ["resume=latest"]))
    assert resumed.run_id != whole.run_id
    assert points(resumed.folder) == points(whole.folder)


def test_a_sweep_compares_its_jobs(outputs, capsys):
    assert run_cli("train", "-m", *QUICK, "model.operator=identity,translation", "trainer.steps=8") == 0
    printed = capsys.readouterr().out
    assert len([f for f in (outputs / "runs").iterdir() if (f / "checkpoints").is_dir()]) == 2
    assert "identity" in printed and "best: job" in printed


def test_a_recipe_s_run_is_trained_once_and_pinned(outputs, monkeypatch):
    small = compose("train", [*QUICK, "trainer.steps=8"])
    monkeypatch.setattr(recipe, "compose", lambda command, overrides: small)
    ranker = compose(
        "train",
        [
            "data.source.rows={train: 300, val: 100, test: 100}",
            "+data.embeddings.user_twhin={id: author_id, table: recipe:twhin_planted/user}",
            NO_STORE,
            "trainer.steps=2",
            "trainer.batch_size=32",
            "evaluation.pictures=[]",
        ],
    )
    result = recap_exp.run(ranker)
    trained = find_run("latest", of_graph=True)
    stored = stored_training(result.folder / "config.yaml")
    assert stored.data.embeddings["user_twhin"].table == f"run:{trained.id}/user"
    recap_exp.run(ranker)
    assert find_run("latest", of_graph=True).id == trained.id
    assert "user.parquet" in json.loads((result.folder / "dependencies.json").read_text())["embeddings"]


def test_a_recipe_without_a_run_is_said_where_nothing_is_trained(outputs):
    cfg = compose("train", ["+data.embeddings.e={id: author_id, table: recipe:twhin_planted/user}"])
    with pytest.raises(ConfigError, match="recap-exp train experiment=twhin_planted"):
        pinned_tables(cfg.data)
    none = compose("train", ["+data.embeddings.e={id: author_id, table: recipe:null_labels/user}"])
    with pytest.raises(ConfigError, match="trains no embeddings"):
        pinned_tables(none.data, cfg.tracking)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=planted_graph"], "data=planted_graph is a graph"),
        (["model=twhin"], "model=twhin is trained on a graph"),
        ([*SMALL, "trainer.accumulate=2"], "trainer.accumulate=2: must be 1"),
        ([*SMALL, "metric=val/mrx"], "did you mean 'mrr'"),
        ([*SMALL, "+optimizer.tables.usr={rule: sgd, schedule: {kind: constant, rate: 0.1}}"], "did you mean 'user'"),
        ([*SMALL, "+evaluation.partitions.more={split: tst}"], "did you mean 'test'"),
        ([*SMALL, "trainer.early_stopping.metric=test/mrr"], "the partition in trainer.early_stopping.metric"),
    ],
)
def test_what_is_wrong_is_one_line(overrides, said):
    with pytest.raises(ConfigError) as error:
        compose("train", overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


REAL_DATA = os.environ.get("RECAP_DATA")


@pytest.mark.skipif(not REAL_DATA or not (Path(REAL_DATA) / "codex-s").is_dir(), reason="needs CoDEx-S")
def test_codex_s_reaches_its_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAP_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("RECAP_DATA", str(REAL_DATA))
    metrics = recap_exp.run(compose("train", ["experiment=twhin_codex_s", NO_STORE, "evaluation.pictures=false"])).metrics
    assert metrics["test/mrr"] > 0.38 and metrics["test/hits_at_10"] > 0.59


@pytest.mark.skipif(not REAL_DATA or not (Path(REAL_DATA) / "higgs").is_dir(), reason="needs the Higgs log")
def test_higgs_reaches_its_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAP_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("RECAP_DATA", str(REAL_DATA))
    metrics = recap_exp.run(compose("train", ["experiment=twhin_higgs", NO_STORE, "evaluation.pictures=false"])).metrics
    assert metrics["test/mrr"] > 0.1 and metrics["test/hits_at_10"] > 0.19


@pytest.mark.skipif(not REAL_DATA or not list(Path(REAL_DATA).glob("deskdrop/users_interactions.csv*")), reason="needs the Deskdrop log")
def test_the_ranker_s_rows_come_after_what_embeddings_know(tmp_path, monkeypatch):
    """Nothing of deskdrop_twhin's graph is at or after the first row that its ranker learns from."""
    monkeypatch.setenv("RECAP_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("RECAP_DATA", str(REAL_DATA))
    cfg = compose("train", ["experiment=deskdrop_twhin"])
    cfg.data.embeddings = {}
    made = prepare(cfg.data, [task.label for task in cfg.tasks.values()]).manifest["made"]["splits"]
    until = compose("train", ["experiment=twhin_deskdrop"]).data.source.until
    assert datetime.fromisoformat(until + "+00:00") <= datetime.fromisoformat(made["train"]["from"])
