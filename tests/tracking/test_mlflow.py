"""Runs on a real SQLite store, through the real sender process."""

import json
import logging
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recap_exp.tracking.journal import read
from recap_exp.tracking.recorder import Recorder
from recap_exp.tracking.run_file import read_run
from recap_exp.tracking.send import send, unsent_runs
from recap_exp.tracking.sender import Sender, is_sent, only_sender, sent
from recap_exp.tracking.tracker import RunInfo


def client(outputs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{outputs}/mlflow.db")


def only_run(outputs: Path, experiment: str = "recipe") -> Any:
    runs = client(outputs).search_runs([client(outputs).get_experiment_by_name(experiment).experiment_id])
    assert len(runs) == 1
    return runs[0]


def points(outputs: Path, run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client(outputs).get_metric_history(run_id, metric)]


def test_a_run_from_start_to_end(store_ready: Path, open_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recap_exp.tracking.environment import record_environment

    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)  # a stranger's run is not ours
    started = time.time()
    tracker = open_run(info={"tags": {"team": "feed"}, "notes": "Does *seed* matter?"})
    assert tracker.mlflow_run_id() is None  # the store was not waited for: it knows nothing yet
    tracker.params({"seed": 1, "long": "x" * 7000})
    record_environment(tracker)
    for step in range(1500):
        tracker.metrics({"train/loss": 1 / (step + 1), "train/loss/like": step}, step)
    tracker.metrics({"val/auroc/like": float("nan"), "val/rce/like": float("-inf"), "score/mean": 0.25}, 1500)
    tracker.metrics({"a name? (odd)//x": 1.0})
    tracker.dataset("planted", "sha256:" + "ab" * 32, "train", "/data/planted", {"continuous": "continuous[40]"}, {"rows": 10})
    tracker.dataset("planted", "sha256:" + "cd" * 32, "val", "/data/planted", {"continuous": "continuous[40]"}, {"rows": 5})
    checkpoint = store_ready / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "weights").write_bytes(b"w" * 10)
    tracker.artifact(checkpoint, "checkpoint")
    tracker.table({"task": ["like"], "auroc": [0.8]}, "evaluation/val.json")
    assert tracker.finish() is True

    run = only_run(store_ready)
    run_id = run.info.run_id
    assert tracker.mlflow_run_id() == run_id != "0" * 32
    assert tracker.url == f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run_id}"
    card = read_run(store_ready / "runs/20261124-034512-a1b2c3")
    assert (card["mlflow_run_id"], card["url"]) == (run_id, tracker.url)

    assert (run.info.run_name, run.info.status) == ("seed=1", "FINISHED")
    assert abs(run.info.start_time / 1000 - started) < 2
    tags = run.data.tags
    assert tags["recap.run"] == "20261124-034512-a1b2c3"
    assert tags["team"] == "feed" and tags["mlflow.note.content"] == "Does *seed* matter?"
    assert tags["recap.python"] == sys.version.split()[0]
    assert run.data.params["seed"] == "1"
    assert len(run.data.params["long"]) == 6000 and "7000 characters" in run.data.params["long"]

    assert points(store_ready, run_id, "train/loss") == [(s, 1 / (s + 1)) for s in range(1500)]
    assert len(points(store_ready, run_id, "train/loss/like")) == 1500
    assert math.isnan(run.data.metrics["val/auroc/like"])
    assert run.data.metrics["val/rce/like"] < -1e308  # SQL has no infinity: MLflow stores the least number
    assert run.data.metrics["a name_ _odd_/x"] == 1.0
    inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert inputs["train"].digest == ("ab" * 32)[:36] and json.loads(inputs["val"].profile) == {"rows": 5}
    folder = store_ready / "mlartifacts" / run_id / "artifacts"
    assert os.path.samefile(folder / "checkpoint/weights", checkpoint / "weights")
    assert json.loads((folder / "environment/versions.json").read_text())["packages"]["mlflow"]
    assert client(store_ready).get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"


def test_sending_twice_changes_nothing(store_ready: Path, open_run: Any, no_sender: None) -> None:
    tracker = open_run("r", info={"tags": {"a": "b"}})
    tracker.params({"seed": 1})
    for step in range(20):
        tracker.metrics({"train/loss": float(step), "nan": float("nan")}, step)
    tracker.dataset("planted", "d", "train", "/d", {}, {})
    tracker.text("x", "a.txt")
    tracker.finish()
    assert send("r") == 0
    folder = store_ready / "runs/r"
    before = only_run(store_ready)
    (folder / "sent.json").unlink()  # a crash between MLflow's commit and our note of it, at worst
    assert not is_sent(folder)
    assert Sender(folder).send() == 25
    assert is_sent(folder)
    after = only_run(store_ready)
    assert after.info.run_id == before.info.run_id and after.info.status == "FINISHED"
    assert after.data.params == {"seed": "1"}
    assert points(store_ready, after.info.run_id, "train/loss") == [(s, float(s)) for s in range(20)]
    assert len(points(store_ready, after.info.run_id, "nan")) == 20
    assert len(after.inputs.dataset_inputs) == 1


def test_a_store_that_fails_costs_one_warning_and_nothing_is_lost(
    outputs: Path, made_store: Path, open_run: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = outputs / "store"
    blocked.write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        tracker = open_run("r", uri=f"sqlite:///{blocked}/mlflow.db")
        for step in range(10):
            tracker.metrics({"train/loss": float(step)}, step)
        assert tracker.finish() is False
    assert tracker.mlflow_run_id() is None
    assert [m for m in caplog.messages if "can't be reached" in m] and len(caplog.messages) == 2
    assert "recap-exp send run=r" in caplog.messages[-1]
    folder = outputs / "runs/r"
    assert list(unsent_runs()) == [folder]
    assert send("r") == 1
    assert "failed" in capsys.readouterr().out

    recorded = [r["t"] for r, _ in read(folder / "records.jsonl")]
    blocked.unlink()
    blocked.mkdir()
    (blocked / "mlflow.db").write_bytes(made_store.read_bytes())
    assert send() == 0
    assert "sent 12 records" in capsys.readouterr().out
    from mlflow import MlflowClient

    store = MlflowClient(f"sqlite:///{blocked}/mlflow.db")
    (run,) = store.search_runs([store.get_experiment_by_name("recipe").experiment_id])
    history = store.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(s, float(s)) for s in range(10)]
    assert [m.timestamp for m in history] == recorded[1:-1]
    assert (run.info.start_time, run.info.end_time) == (recorded[0], recorded[-1])
    assert send() == 0
    assert "nothing to send" in capsys.readouterr().out


KILLED = """
import os, sys, time
from pathlib import Path
from recap_exp.tracking import delivery
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.config import TrackingConfig
from recap_exp.tracking.tracker import RunInfo
folder = Path(os.environ["RECAP_OUTPUTS"]) / "runs" / "killed"
tracker = open_tracker(TrackingConfig(), RunInfo(id="killed", folder=folder, experiment="recipe", name="n"))
for step in range(5):
    tracker.metrics({"train/loss": step}, step)
while not delivery._senders.pid:
    time.sleep(0.01)
print(delivery._senders.pid, flush=True)
if sys.argv[1] == "after":
    tracker.mlflow_run_id(timeout=60)
    tracker.metrics({"train/loss": 5}, 5)
print("ready", flush=True)
time.sleep(60)
"""


def until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def nobody_sends(folder: Path) -> bool:
    with only_sender(folder) as alone:
        return alone


@pytest.mark.parametrize("sender_dies", [True, False])
def test_a_killed_run_is_whole_and_closed(store_ready: Path, sender_dies: bool) -> None:
    """kill -9 in mid-run: with its sender, `send` does the rest; else the sender does."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, "before" if sender_dies else "after"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    sender = int(process.stdout.readline())
    process.stdout.readline()
    process.kill()  # first: it would replace its sender
    process.wait()
    process.stdout.close()
    folder = store_ready / "runs/killed"
    if sender_dies:
        os.kill(sender, signal.SIGKILL)
        until(lambda: nobody_sends(folder), 60)
    if sender_dies:
        assert send("killed") == 0
    else:
        until(lambda: is_sent(folder), 60)
    run = only_run(store_ready)
    assert run.info.status == "KILLED"
    assert points(store_ready, run.info.run_id, "train/loss") == [(s, float(s)) for s in range(5 if sender_dies else 6)]


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(
    store_ready: Path, open_run: Any, no_sender: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = open_run("r")
    tracker.params({"trainer.steps": 10, "seed": 1})
    tracker.metrics({"train/loss": 1.0}, 0)
    tracker.tags({"recap.error": "DataError: train.csv is not there"})
    tracker.finish("FAILED")
    assert send() == 0
    assert only_run(store_ready).info.status == "FAILED"
    assert "recap.error" in only_run(store_ready).data.tags
    capsys.readouterr()
    tracker = open_run("r")
    tracker.params({"trainer.steps": 20, "seed": 1, "new": 2})  # MLflow never changes a param
    tracker.metrics({"train/loss": 0.5}, 1)
    tracker.finish()
    assert send() == 0
    assert "did not take param trainer.steps=20" in capsys.readouterr().out
    run = only_run(store_ready)
    assert run.info.status == "FINISHED"
    assert "recap.error" not in run.data.tags
    assert run.data.params == {"trainer.steps": "10", "seed": "1", "new": "2"}
    assert points(store_ready, run.info.run_id, "train/loss") == [(0, 1.0), (1, 0.5)]


def test_a_deleted_experiment_comes_back(store_ready: Path, open_run: Any, no_sender: None) -> None:
    mlflow = client(store_ready)
    mlflow.delete_experiment(mlflow.create_experiment("recipe"))
    open_run("r").finish()
    assert send() == 0
    assert only_run(store_ready).info.status == "FINISHED"


def test_a_missing_artifact_does_not_stop_the_rest(
    store_ready: Path, open_run: Any, no_sender: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = open_run("r")
    tracker.text("x", "a.txt")
    tracker.metrics({"train/loss": 1.0}, 0)
    tracker.finish()
    (store_ready / "runs/r/artifacts/a.txt").unlink()
    assert send() == 0
    assert "did not take artifact a.txt" in capsys.readouterr().out
    assert only_run(store_ready).data.metrics == {"train/loss": 1.0}


def _record_and_send(barrier: Any, folder: Path, uri: str) -> None:
    """A run on its way while it goes on: what it logs is sent in many small calls, as other runs send theirs."""
    info = RunInfo(id=folder.name, folder=folder, experiment="recipe", name=folder.name)
    os.dup2(os.open(folder.parent / f"{folder.name}.log", os.O_CREAT | os.O_WRONLY), 2)
    recorder = Recorder(info, uri)
    recorder.params({"seed": folder.name, "trainer.steps": 300})
    barrier.wait(60)
    sender = Sender(folder)
    for step in range(300):
        recorder.metrics({"train/loss": step, "train/loss/like": step / 2}, step)
        if step % 20 == 0:
            sender.send()
    recorder.text("a: 1\n", "config.yaml")
    recorder.finish()
    sender.send()
    assert not sender.refused


def test_eight_processes_at_once_on_a_new_store_lose_nothing(outputs: Path, no_sender: None) -> None:
    import recap_exp.tracking.store
    import recap_exp.tracking.views  # noqa: F401  imported before the fork: eight imports take long

    ids = [f"run{i}" for i in range(8)]
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(len(ids))
    (outputs / "runs").mkdir()
    jobs = [(barrier, outputs / "runs" / run_id, f"sqlite:///{outputs}/mlflow.db") for run_id in ids]
    processes = [fork.Process(target=_record_and_send, args=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    assert [p.exitcode for p in processes] == [0] * len(ids)
    store = client(outputs)
    runs = store.search_runs([store.get_experiment_by_name("recipe").experiment_id])
    assert sorted(r.data.params["seed"] for r in runs) == ids
    for run in runs:
        assert (run.info.status, run.data.params["trainer.steps"]) == ("FINISHED", "300")
        assert points(outputs, run.info.run_id, "train/loss") == [(s, float(s)) for s in range(300)]
        assert points(outputs, run.info.run_id, "train/loss/like") == [(s, s / 2) for s in range(300)]
        assert (outputs / "mlartifacts" / run.info.run_id / "artifacts/config.yaml").is_file()
    said = "".join((outputs / f"runs/{run_id}.log").read_text() for run_id in ids)
    assert "locked" not in said and "rror" not in said


def test_children_stand_under_their_parent_whoever_comes_first(
    store_ready: Path, open_run: Any, no_sender: None, capsys: pytest.CaptureFixture[str]
) -> None:
    open_run("sweep")
    child = open_run("child", info={"parent": "sweep"})
    child.metrics({"val/auroc/mean": 0.5}, 1)
    child.finish("PRUNED")
    assert send("child") == 0
    folder = store_ready / "runs/child"
    assert not is_sent(folder) and list(unsent_runs("child")) == [folder]
    run = only_run(store_ready)
    assert run.info.status == "KILLED" and run.data.tags["recap.pruned"] == "true"
    assert "mlflow.parentRunId" not in run.data.tags
    assert send("sweep") == 0
    assert send("child") == 0
    tags = client(store_ready).get_run(run.info.run_id).data.tags
    assert tags["mlflow.parentRunId"] == sent(store_ready / "runs/sweep")["mlflow_run_id"]
    assert is_sent(folder)


def test_a_parent_is_found_by_its_tag_and_one_without_a_store_is_not_awaited(store_ready: Path, open_run: Any, no_sender: None) -> None:
    import shutil

    open_run("elsewhere", info={"experiment": "another"}).finish()
    assert send() == 0
    known = sent(store_ready / "runs/elsewhere")["mlflow_run_id"]
    shutil.rmtree(store_ready / "runs/elsewhere")  # written on another machine
    open_run("quiet", kind="none").finish()
    for number, parent in enumerate(("elsewhere", "quiet", "nowhere")):
        open_run(f"child{number}", info={"parent": parent}).finish()
    assert send() == 0
    assert list(unsent_runs()) == []
    ids = [sent(store_ready / f"runs/child{number}")["mlflow_run_id"] for number in range(3)]
    assert [client(store_ready).get_run(i).data.tags.get("mlflow.parentRunId") for i in ids] == [known, None, None]


def test_state_of_a_run_without_a_folder(tmp_path: Path) -> None:
    assert sent(tmp_path) == {}
