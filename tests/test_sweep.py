"""Whole sweeps, as a user starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recap_exp.cli import main
from recap_exp.sweep.job import STUDY
from recap_exp.sweep.jobs import JobCard, Jobs

TINY = [
    "data.source.rows={train: 600, val: 200, test: 200}",
    "trainer.steps=4",
    "trainer.batch_size=64",
    "trainer.evaluate_every=2",
    "trainer.log_every=2",
    "evaluation.pictures=[]",
    "tracking.log_model=false",
]
NO_STORE = "tracking=none"
BROKEN = "optimizer.backbone.rate=1e-2,1e35"
"""The second value makes the loss infinite."""


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def sweeps(outputs: Path) -> list[Path]:
    """Folders of sweeps, the oldest first."""
    return [p.parent for p in sorted(outputs.glob("runs/*/sweep.json"))]


def cards(outputs: Path) -> list[JobCard]:
    """Jobs of the only sweep."""
    (folder,) = sweeps(outputs)
    return Jobs(folder).all()


def run_card(outputs: Path, run: str | None) -> dict:
    """run.json of a run."""
    return json.loads((outputs / "runs" / str(run) / "run.json").read_text())


def runs(outputs: Path) -> list[str]:
    """Ids of all runs but sweeps."""
    return sorted(p.parent.name for p in outputs.glob("runs/*/run.json") if not (p.parent / "sweep.json").exists())


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A grid of two models and two seeds in a real store, shared by the tests that look at it."""
    folder = tmp_path_factory.mktemp("outputs")
    os.environ["RECAP_OUTPUTS"] = str(folder)
    assert run_cli("train", "-m", *TINY, "model=mlp,masknet_parallel", "seed=0,1", "tracking.log_model=true") == 0
    return folder


@pytest.fixture
def client(grid, monkeypatch):
    """The store of that sweep."""
    from mlflow import MlflowClient

    monkeypatch.setenv("RECAP_OUTPUTS", str(grid))
    return MlflowClient(f"sqlite:///{grid}/mlflow.db")


def test_jobs_are_children_of_the_sweep_told_apart_by_what_varies(grid, client):
    (sweep,) = sweeps(grid)
    parent_id = json.loads((sweep / "run.json").read_text())["mlflow_run_id"]
    experiment = client.get_experiment_by_name("planted").experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent_id}'", order_by=["attributes.start_time"])
    assert [c.info.run_name for c in children] == ["mlp seed=0", "mlp seed=1", "masknet_parallel seed=0", "masknet_parallel seed=1"]
    for number, (child, model, seed) in enumerate(zip(children, ("mlp", "mlp", *["masknet_parallel"] * 2), "0101", strict=True)):
        assert child.data.params == {"model": model, "seed": seed}
        tags = child.data.tags
        assert (tags["sweep.model"], tags["sweep.seed"]) == (model, seed)
        assert (tags["recap.sweep"], tags["recap.job"]) == (sweep.name, str(number))
        assert child.info.status == "FINISHED"
        assert "test/auroc/mean" in child.data.metrics
        assert (Path(child.info.artifact_uri.removeprefix("file://")) / "config.yaml").is_file()


def test_the_parent_has_the_table_the_pictures_the_best_child_and_its_command(grid, client):
    (sweep,) = sweeps(grid)
    parent = client.get_run(json.loads((sweep / "run.json").read_text())["mlflow_run_id"])
    files = {f.path for f in client.list_artifacts(parent.info.run_id, "sweep")}
    pictures = {"sweep/val_auroc_mean_parallel_coordinates.png", "sweep/val_auroc_mean_importance.png"}
    assert pictures | {"sweep/results.json", "sweep/results.csv", "sweep/sweep.json"} <= files
    table = json.loads((sweep / "artifacts/sweep/results.json").read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    best = max(rows, key=lambda row: row["val/auroc/mean"])
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("mlp", "0"),
        ("mlp", "1"),
        ("masknet_parallel", "0"),
        ("masknet_parallel", "1"),
    ]
    assert parent.data.tags["recap.best_run"] == best["run"]
    command = parent.data.tags["recap.best_command"]
    assert command.startswith("recap-exp train ") and f"model={best['model']} seed={best['seed']}" in command
    assert command in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["val/auroc/mean"] == best["val/auroc/mean"]
    assert parent.data.metrics["sweep/finished"] == 4
    assert parent.data.params == {"sweep": "grid", "model": "mlp,masknet_parallel", "seed": "0,1"}
    assert parent.info.status == "FINISHED"


def test_scorings_of_one_run_are_swept_without_training(grid, client, capsys):
    known = set(runs(grid))
    assert run_cli("score", "-m", "run=latest", "scoring=home_2023,home_2026", "metric=null") == 0
    new = sorted(set(runs(grid)) - known)
    assert len(new) == 2
    scored = set()
    for run in new:
        card = run_card(grid, run)
        assert card["command"] == "score"
        found = client.get_run(card["mlflow_run_id"])
        scored.add(found.data.tags["recap.scored_run"])
        assert "score/mean" in found.data.metrics
        assert not list((grid / "runs" / run).glob("checkpoints/*"))
    assert len(scored) == 1  # `latest` means one run, also once there are newer ones
    out = capsys.readouterr().out
    assert "scoring=home_2026" in out


def test_a_failing_job_hides_nobody_and_the_parent_lists_it(outputs, capsys):
    assert run_cli("train", "-m", *TINY, BROKEN, NO_STORE, "seed=0,1") == 1
    found = cards(outputs)
    assert [c.status for c in found] == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "failed:" in line]
    assert len(lines) == 2 and all("is not finite" in line for line in lines)
    assert said.err.index(lines[0]) < said.err.index("job 4 of 4: ")  # when it happens, not in the end
    assert "recap-exp: 2 of 4 jobs failed (3, 4); again: recap-exp train -m sweep.resume=" in said.err
    (sweep,) = sweeps(outputs)
    assert "1e+35" in (sweep / "artifacts/sweep/failed.txt").read_text()
    assert run_card(outputs, found[2].run)["status"] == "FAILED"
    assert run_card(outputs, sweep.name)["status"] == "FINISHED"


def test_a_wrong_value_is_said_before_anything_runs(outputs, capsys):
    assert run_cli("train", "-m", *TINY, "model=mlp,maskent_serial", NO_STORE) == 1
    assert "did you mean 'masknet_serial'" in capsys.readouterr().err
    assert run_cli("train", "-m", *TINY, "trainer.stepz=3,4", NO_STORE) == 1
    assert "did you mean 'steps'" in capsys.readouterr().err
    assert run_cli("train", "-m", *TINY, "seed=0,1", "metric=val/ctr/mean", NO_STORE) == 1
    assert "say sweep.maximize=[val/ctr/mean]" in capsys.readouterr().err
    assert run_cli("train", "-m", *TINY, "seed=0,1", "sweep.resume=nothing", NO_STORE) == 1
    assert "no run 'nothing'" in capsys.readouterr().err
    assert not list(outputs.glob("runs/*"))


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command as a process, in a process group of its own, as a terminal has it."""
    command = [sys.executable, "-m", "recap_exp", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0)


def wait_for(process: subprocess.Popen[str], condition) -> None:
    """Until the condition holds while the process lives; a failure shows what it said."""
    end = time.monotonic() + 180
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(process.communicate()[0])
        time.sleep(0.02)


def status(outputs: Path) -> list[str]:
    """Statuses of the jobs of the only sweep, [] before there are any."""
    return [c.status for c in cards(outputs)] if sweeps(outputs) else []


LONG = ["trainer.steps=100000", "trainer.evaluate_every=20", "trainer.checkpoint_every=20"]


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_ctrl_c_ends_the_jobs_marks_them_and_keeps_what_is_there(outputs, launcher):
    process = start("train", "-m", *TINY, *LONG, "seed=0,1", NO_STORE, f"hydra/launcher={launcher}")
    running = 1 if launcher == "basic" else 2
    began = outputs / "runs"
    wait_for(process, lambda: len(list(began.glob("*/checkpoints/step_*"))) >= running and status(outputs).count("RUNNING") == running)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    if launcher != "submitit_local":  # whose controllers say in their own words that they were stopped
        assert "Traceback" not in output, output
    assert status(outputs).count("KILLED") == running
    assert "RUNNING" not in status(outputs)
    for card in cards(outputs)[:running]:
        assert run_card(outputs, card.run)["status"] == "KILLED"
    (sweep,) = sweeps(outputs)
    assert run_card(outputs, sweep.name)["status"] == "KILLED"
    assert (sweep / "artifacts/sweep/results.csv").read_text().count("KILLED") == running


def test_a_sweep_goes_on_after_kill_9_without_doing_anything_twice(outputs, capsys):
    from mlflow import MlflowClient

    steps = [*TINY[2:], "trainer.steps=60", "trainer.evaluate_every=10", TINY[0], "seed=0,1,2"]
    process = start("train", "-m", *steps)
    second = lambda: [c for c in cards(outputs) if c.number == 1 and c.run] if sweeps(outputs) else []  # noqa: E731
    wait_for(process, lambda: second() and list((outputs / "runs" / str(second()[0].run) / "checkpoints").glob("step_*")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {c.number: c.run for c in cards(outputs)}
    done = (outputs / "runs" / str(before[0]) / "records.jsonl").read_bytes()
    assert run_cli("train", "-m", "sweep.resume=latest") == 0
    after = cards(outputs)
    assert [c.status for c in after] == ["FINISHED"] * 3
    assert [c.run for c in after[:2]] == [before[0], before[1]]
    assert (outputs / "runs" / str(before[0]) / "records.jsonl").read_bytes() == done
    assert len(runs(outputs)) == 3
    client = MlflowClient(f"sqlite:///{outputs}/mlflow.db")
    stored = client.search_runs([client.get_experiment_by_name("planted").experiment_id])
    assert sorted(r.info.status for r in stored) == ["FINISHED"] * 4
    again = next(r for r in stored if r.data.tags["recap.run"] == before[1])
    steps_told = [m.step for m in client.get_metric_history(again.info.run_id, "val/auroc/mean")]
    assert sorted(set(steps_told)) == sorted(steps_told)
    assert {10, 20, 30, 40, 50, 60} <= set(steps_told)
    capsys.readouterr()
    # More of the same: what is there already is not made again.
    assert run_cli("train", "-m", "sweep.resume=latest", *steps[:-1], "seed=0,1,2,3") == 0
    assert [c.overrides[-1] for c in cards(outputs)] == ["seed=0", "seed=1", "seed=2", "seed=3"]
    assert len(runs(outputs)) == 4


@pytest.mark.parametrize("launcher", [["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["hydra/launcher=submitit_local"]])
def test_jobs_run_at_once_and_share_the_cpus(outputs, launcher, capfd):
    assert run_cli("train", "-m", *TINY, BROKEN, "trainer.threads=null", NO_STORE, *launcher) == 1
    found = cards(outputs)
    assert [c.status for c in found] == ["FINISHED", "FAILED"]
    assert len({c.place["pid"] for c in found} | {os.getpid()}) >= 2
    assert "job 2 of 2" in capfd.readouterr().err
    config = (outputs / "runs" / str(found[0].run) / "config.yaml").read_text()
    assert f"threads: {max(1, len(os.sched_getaffinity(0)) // 2)}\n" in config


def test_a_worker_that_the_system_kills_fails_its_jobs_and_not_the_sweep(outputs):
    process = start("train", "-m", *TINY, *LONG, "seed=0,1", NO_STORE, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    wait_for(process, lambda: status(outputs).count("RUNNING") == 2 and list(outputs.glob("runs/*/checkpoints/step_*")))
    os.kill(cards(outputs)[0].place["pid"], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert status(outputs) == ["FAILED", "FAILED"]  # joblib ends the pool when one of its workers dies
    assert all("ended without a word" in str(card.error) for card in cards(outputs))
    assert "2 of 2 jobs failed" in output
    assert {run_card(outputs, card.run)["status"] for card in cards(outputs)} == {"KILLED"}
    (sweep,) = sweeps(outputs)
    assert run_card(outputs, sweep.name)["status"] == "FINISHED"


def test_a_search_prunes_bad_trials_and_goes_on_with_its_study(outputs, capsys):
    search = ["sweep=tpe", "sweep.trials=6", "optimizer.backbone.rate=choice(1e-2,1e-9)", "seed=range(100)"]
    pruner = "+sweep.pruner={kind: median, startup_trials: 2, warmup_steps: 0}"
    assert run_cli("train", "-m", *TINY, "trainer.steps=8", NO_STORE, *search, pruner.replace("+", "")) == 0
    found = cards(outputs)
    assert len(found) == 6
    assert {"FINISHED", "PRUNED"} == {c.status for c in found}
    pruned = next(c for c in found if c.status == "PRUNED")
    assert "is behind the other trials" in str(pruned.error)
    assert run_card(outputs, pruned.run)["status"] == "PRUNED"
    assert not list((outputs / "runs" / str(pruned.run)).glob("score"))
    assert "pruned at step" in capsys.readouterr().out
    (sweep,) = sweeps(outputs)
    assert (sweep / STUDY).is_file()
    assert run_cli("train", "-m", "sweep=tpe", f"sweep.resume={sweep.name}", "sweep.trials=7") == 0
    assert [c.overrides for c in cards(outputs)[:6]] == [c.overrides for c in found]
    assert len(cards(outputs)) == 7


def test_several_objectives_end_in_a_front(outputs, capsys):
    both = ["sweep=random", "sweep.trials=3", "sweep.maximize=[val/auroc/mean]", "sweep.minimize=[val/loss/mean]"]
    assert run_cli("train", "-m", *TINY, NO_STORE, *both, "optimizer.backbone.rate=tag(log,interval(1e-3,1e-1))") == 0
    assert all(set(c.values) == {"val/auroc/mean", "val/loss/mean"} for c in cards(outputs))
    assert "best: job" in capsys.readouterr().out


def test_a_space_of_conf_sweep_is_searched(outputs):
    rows = "data.source.rows={train: 2100, val: 200, test: 200}"
    assert run_cli("train", "-m", rows, TINY[1], *TINY[3:], NO_STORE, "sweep=learning_rate", "sweep.trials=2") == 0
    names = {o.split("=")[0] for o in cards(outputs)[0].overrides}
    assert {"optimizer.backbone.rate", "optimizer.tower.rate", "trainer.batch_size"} <= names


def test_slots_are_held_one_a_process(tmp_path):
    from recap_exp.job import free_slot

    with free_slot(tmp_path, 2) as a, free_slot(tmp_path, 2) as b, contextlib.ExitStack() as more:
        assert {a, b} == {0, 1}
        assert more.enter_context(free_slot(tmp_path, 2)) in (0, 1)  # more jobs than devices: shared
    with free_slot(tmp_path, 2) as again:
        assert again == 0


def test_a_sweep_that_is_being_run_can_t_be_resumed_by_another(outputs, capsys):
    process = start("train", "-m", *TINY, *LONG, "seed=0,1", NO_STORE)
    wait_for(process, lambda: "RUNNING" in status(outputs))
    try:
        assert run_cli("train", "-m", "sweep.resume=latest") == 1
        assert "is being written by another process" in capsys.readouterr().err
        assert "RUNNING" in status(outputs)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
