"""One sender process for all runs of a program: the real one, on real SQLite stores."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recap_exp.tracking import delivery
from recap_exp.tracking.delivery import drain
from recap_exp.tracking.run_file import read_run
from recap_exp.tracking.sender import is_sent, sent


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stored(outputs: Path, run: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{outputs}/mlflow.db").get_run(sent(outputs / "runs" / run)["mlflow_run_id"])


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody waits for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_runs_of_a_process_share_a_sender_and_wait_for_it_at_the_end(store_ready: Path, open_run: Any) -> None:
    tracker = open_run("first")
    assert tracker.mlflow_run_id(timeout=60)
    pid = delivery._senders.pid
    for number in range(3):
        job = open_run(f"job{number}", info={"parent": "first"})
        job.metrics({"val/auroc/mean": number / 10}, 1)
        job.finish(wait=False)
    assert drain(60) == []  # the first goes on
    tracker.metrics({"sweep/finished": 3.0})
    assert tracker.finish() is True
    assert delivery._senders.pid == pid
    parent = stored(store_ready, "first")
    for number in range(3):
        run = stored(store_ready, f"job{number}")
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"val/auroc/mean": number / 10})
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert read_run(store_ready / "runs" / f"job{number}")["mlflow_run_id"] == run.info.run_id


def test_a_sender_that_dies_is_replaced(store_ready: Path, open_run: Any) -> None:
    tracker = open_run("r")
    assert tracker.mlflow_run_id(timeout=60)
    until(lambda: delivery._senders.pid)
    pid = delivery._senders.pid
    os.kill(pid, signal.SIGKILL)
    tracker.metrics({"train/loss": 1.0}, 1)
    assert tracker.finish() is True
    assert delivery._senders.pid != pid
    assert stored(store_ready, "r").data.metrics == {"train/loss": 1.0}


def test_drain_sends_what_other_processes_left_and_says_what_can_not_be_sent(
    store_ready: Path, open_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as alone:
        alone.setattr("recap_exp.tracking.recorder.deliver", lambda folder, uri: None)
        open_run("left").finish()
        died = open_run("died")
        died.metrics({"train/loss": 1.0}, 1)
        died._journal.close()
        open_run("quiet", kind="none").finish()
    blocked = store_ready / "store"
    blocked.write_text("a file where a folder should be")
    open_run("unsent", uri=f"sqlite:///{blocked}/mlflow.db").finish(wait=False)
    folders = {name: store_ready / "runs" / name for name in ("left", "died", "quiet", "unsent")}
    assert drain(60, also=folders.values()) == ["unsent"]
    assert stored(store_ready, "left").info.status == "FINISHED"
    assert stored(store_ready, "died").info.status == "KILLED"
    blocked.unlink()
    assert drain(60) == []
    assert is_sent(folders["unsent"])


LEAVES = """
import json, os, sys, time
from pathlib import Path
from recap_exp.tracking import delivery
from recap_exp.tracking.config import TrackingConfig
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.tracker import RunInfo
runs = Path(os.environ["RECAP_OUTPUTS"]) / "runs"
for number in range(3):
    tracker = open_tracker(TrackingConfig(), RunInfo(id=f"r{number}", folder=runs / f"r{number}", experiment="recipe", name="n"))
    tracker.metrics({"train/loss": number}, 1)
    tracker.finish(wait=False)
while not delivery._senders.pid:
    time.sleep(0.01)
fork = os.fork()
if fork == 0:
    time.sleep(120)
    os._exit(0)
print(json.dumps([delivery._senders.pid, fork]), flush=True)
os._exit(0)
"""


def test_a_program_that_does_not_wait_loses_nothing(store_ready: Path) -> None:
    """A forked child of it lives on, with copies of its pipes."""
    with subprocess.Popen([sys.executable, "-c", LEAVES], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        sender, fork = json.loads(program.stdout.readline())
    try:
        until(lambda: not alive(sender))
        assert alive(fork)
    finally:
        os.kill(fork, signal.SIGKILL)
    for number in range(3):
        assert is_sent(store_ready / f"runs/r{number}")
        run = stored(store_ready, f"r{number}")
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"train/loss": float(number)})


def test_a_pool_that_kills_its_workers_and_their_children_loses_nothing(store_ready: Path) -> None:
    from joblib.externals.loky import get_reusable_executor

    def record(runs: Path) -> None:
        from recap_exp.tracking import delivery
        from recap_exp.tracking.config import TrackingConfig
        from recap_exp.tracking.open import open_tracker
        from recap_exp.tracking.tracker import RunInfo

        for name in ("done", "going"):
            info = RunInfo(id=name, folder=runs / name, experiment="recipe", name=name)
            tracker = open_tracker(TrackingConfig(), info)
            tracker.metrics({"train/loss": 1.0}, 1)
            if name == "done":
                tracker.finish(wait=False)
        delivery.kept = tracker  # type: ignore[attr-defined]
        while not delivery._senders.pid:
            time.sleep(0.01)

    pool = get_reusable_executor(max_workers=1, timeout=60)
    pool.submit(record, store_ready / "runs").result(60)
    pool.shutdown(kill_workers=True)
    until(lambda: is_sent(store_ready / "runs/done") and is_sent(store_ready / "runs/going"))
    assert stored(store_ready, "done").info.status == "FINISHED"
    assert stored(store_ready, "going").info.status == "KILLED"
    assert stored(store_ready, "going").data.metrics == {"train/loss": 1.0}
