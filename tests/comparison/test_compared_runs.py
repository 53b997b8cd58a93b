"""What is read of a run's folder, whatever state the run is in."""

from __future__ import annotations

import json
import math

from made_runs import make_run

from recap_exp.comparison.read import read_runs
from recap_exp.tracking.journal import Journal


def test_last_values_curves_and_what_was_scored(outputs):
    curve = {
        50: {"val/auroc/mean": 0.6, "train/loss": 0.5},
        100: {"val/auroc/mean": 0.7, "train/loss": 0.4},
        101: {"val/auroc/mean": 0.65},  # the restored checkpoint: a result, no point of the curve
    }
    folder = make_run(outputs, "a", metrics={"train/steps": 100.0, "test/auroc/mean": math.nan}, curve=curve)
    (run,) = read_runs([folder])
    assert run.metrics["val/auroc/mean"] == 0.65
    assert math.isnan(run.metrics["test/auroc/mean"])
    assert run.curves == {"val/auroc/mean": [(50, 0.6), (100, 0.7)], "train/loss": [(50, 0.5), (100, 0.4)]}
    assert run.objectives == {"val/auroc/mean": True}
    assert run.digests == {"val": "v", "test": "t"}


def test_settings_by_dotted_key_and_choices_by_group(outputs):
    overrides = ["trainer=fork", "+model.input.clip=3", "tracking=none"]
    (run,) = read_runs([make_run(outputs, "a", {"model.input.clip": 3.0}, overrides)])
    assert run.settings["model"] == "mlp"
    assert run.settings["trainer"] == "fork"
    assert run.settings["model.input.clip"] == 3.0
    assert run.settings["model.tower.layers"] == "[16, 1]"
    assert not [key for key in run.settings if key.startswith(("tracking", "overrides", "model.name"))]


def test_a_run_that_stopped_anywhere_can_be_looked_at(outputs):
    empty = outputs / "runs" / "empty"
    empty.mkdir(parents=True)
    torn = make_run(outputs, "torn", metrics={"x/y": 1.0}, card={"status": "FAILED"})
    with open(torn / "records.jsonl", "a") as file:
        file.write('{"k": "metrics", "step": 5, "v": {"x/y"')
    (torn / "config.yaml").write_text("a: [1, ")
    runs = read_runs([empty, torn])
    assert [run.status for run in runs] == ["unknown", "FAILED"]
    assert runs[1].metrics == {"x/y": 1.0}
    assert runs[1].settings == {}


def test_running_is_who_still_writes(outputs):
    dead, alive = (make_run(outputs, name, card={"status": "RUNNING"}) for name in ("dead", "alive"))
    journal = Journal(alive)
    try:
        assert [run.status for run in read_runs([dead, alive])] == ["KILLED", "RUNNING"]
    finally:
        journal.close()


def test_a_score_run_has_the_settings_of_the_run_it_scored(outputs):
    make_run(outputs, "trained", {"seed": 3, "model.tower.dropout": 0.2}, ["seed=3", "model.tower.dropout=0.2"])
    own = outputs / "runs" / "scored"
    own.mkdir()
    (own / "run.json").write_text(json.dumps({"id": "scored", "command": "score", "name": "planted", "status": "FINISHED"}))
    (own / "config.yaml").write_text(
        "run: latest\nscoring: {name: home_2026, partitions: [test]}\ndata: null\noverrides: [scoring=home_2026]\n"
    )
    (own / "records.jsonl").write_text(json.dumps({"k": "start", "tags": {"recap.scored_run": "trained"}}) + "\n")
    (run,) = read_runs([own])
    assert (run.seed, run.settings["model.tower.dropout"], run.settings["scoring"]) == (3, 0.2, "home_2026")
    assert run.settings["data"] == "planted"
    assert "run" not in run.settings


def test_the_objectives_of_a_sweep_come_with_their_direction(outputs):
    values = {"sweep": {"kind": "grid", "maximize": ["score/auc_between_groups"], "minimize": ["perf/train_seconds"]}}
    (run,) = read_runs([make_run(outputs, "a", values)])
    assert run.objectives == {"score/auc_between_groups": True, "perf/train_seconds": False}
