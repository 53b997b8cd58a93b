"""kill -9 at any moment: the run goes on from where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import dying
import pytest

from recap_exp.cli import main
from recap_exp.finished import load_run
from recap_exp.runs import find_run, new_run
from recap_exp.tracking.journal import Journal
from recap_exp.tracking.send import send

SMALL = (
    "data.source.rows={train: 1500, val: 400, test: 400}",
    "data.source.files=2",
    "trainer.steps=8",
    "trainer.batch_size=64",
    "trainer.accumulate=2",
    "trainer.evaluate_every=4",
    "trainer.checkpoint_every=3",
    "trainer.log_every=2",
    "trainer.keep_checkpoints=1",
    "evaluation.pictures=[]",
)
DROPOUT = "model.tower.dropout=0.1"


class Whole:
    """A run that nothing happened to, and the prepared data and the empty store that it and the others start from."""

    def __init__(self, folder: Path) -> None:
        from recap_exp.tracking.store import Store

        self.start, self.outputs = folder / "start", folder / "outputs"
        Store(f"sqlite:///{self.start}/mlflow.db")
        shutil.copytree(self.start, self.outputs)
        ended = dying.run(self.outputs, "train", *SMALL, DROPOUT)
        assert ended.code == 0, ended.said
        shutil.copytree(self.outputs / "data", self.start / "data")
        self.moments = (self.outputs / dying.MOMENTS).read_text().splitlines()
        self.found = found(self.outputs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    dying.warm_up()
    return Whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def ready(outputs: Path, whole: Whole) -> Path:
    """outputs/ with the prepared data and an empty store."""
    shutil.copytree(whole.start, outputs)
    return outputs


def go_on(outputs: Path, dies: int | str | None = None, sender: bool = False) -> dying.Ended:
    """The command that a user gives after a kill: the first one again where there is no run yet."""
    begun = any(outputs.glob("runs/*/run.json"))
    return dying.run(outputs, "train", *(["resume=latest"] if begun else [*SMALL, DROPOUT]), dies=dies, sender=sender)


def found(outputs: Path) -> dict[str, Any]:
    """All that the one run in `outputs` left, in its folder and, once the rest is sent, in MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECAP_OUTPUTS", str(outputs))
        assert send() == 0
        run = load_run()
    folder = run.folder.path
    database = sqlite3.connect(outputs / "mlflow.db")
    ((mlflow_id, status, name),) = database.execute("select run_uuid, status, name from runs").fetchall()
    points = database.execute("select key, step, value, is_nan from metrics").fetchall()
    assert len(points) == len({point[:2] for point in points}), "a point is in the store twice"
    last = folder / "checkpoints/step_00000008"
    state = json.loads((last / "meta.json").read_text())
    extra = state.pop("extra")
    assert (extra["run"], extra["config"]["trainer"]["steps"]) == (folder.name, 8)
    return {
        "run": (run.folder.card["status"], status, name, run.folder.card["mlflow_run_id"] == mlflow_id),
        "journal": {key: repr(value) for key, value in told(folder).items()},
        "store": {point[:2]: point[2:] for point in points if not point[0].startswith("perf/")},
        "params": dict(database.execute("select key, value from params").fetchall()),
        "data": database.execute("select name, digest from datasets order by digest").fetchall(),
        "weights": {f"{which} {name}": t.tolist() for which in ("best", "newest") for name, t in run.ranker(which).state_dict().items()},
        "random": json.loads((last / "random.json").read_text()),
        "state": state,
        "files": files(folder),
        "artifacts": files(outputs / "mlartifacts" / mlflow_id),
    }


def told(folder: Path) -> dict[tuple[str, int | None], float]:
    """Every point of the journal but timings; none is there twice."""
    points = []
    for line in (folder / "records.jsonl").read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # torn by a kill
        if record["k"] == "metrics":
            points += [((name, record["step"]), value) for name, value in record["v"].items()]
    assert len(points) == len(dict(points)), "a point is in the journal twice"
    return {key: value for key, value in points if not key[0].startswith("perf/")}


def files(folder: Path) -> list[str]:
    """Everything under a folder, hidden files too, but for locks and logs."""
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*"))
    return sorted(p for p in paths if not p.endswith((".lock", ".log")))


def assert_same(outputs: Path, whole: Whole) -> None:
    """Part by part, so that a difference is short to read."""
    now = found(outputs)
    for part, value in whole.found.items():
        if isinstance(value, dict):
            assert now[part].keys() == value.keys(), part
            assert not [key for key in value if now[part][key] != value[key]], part
        else:
            assert now[part] == value, part


@pytest.mark.parametrize("seed", range(7))
def test_killed_three_times_at_random_it_ends_as_if_never_killed(seed: int, ready: Path, whole: Whole) -> None:
    draw = random.Random(seed)
    first = 1 + int((seed + draw.random()) / 7 * (len(whole.moments) - 1))  # the seven are spread over the whole run
    moments = [first, draw.randint(1, 60), draw.randint(1, 60)]
    for moment in moments:
        print(f"seed {seed}: killed at change {moment} of {moments}, in the whole run: {whole.moments[moment - 1]}")
        ended = go_on(ready, dies=moment)
        assert ended.killed, ended
        if draw.random() < 0.5:
            send()  # what there is so far
    ended = go_on(ready)
    assert ended.code == 0, ended.said
    assert_same(ready, whole)


@pytest.mark.parametrize(
    "moments",
    [
        ["runs:RunFolder.note", "tracking.recorder:Recorder.params", "training.checkpoint:write_tensors"],
        ["training.checkpoint:_write_json", "training.checkpoint:Checkpoints.mark_best", "experiment:evaluate#2"],
        ["training.loop:_Run.restore_best", "experiment:report", "pyfunc:save_file"],
    ],
    ids=["begin", "train", "end"],
)
def test_killed_where_it_hurts(moments: list[str], ready: Path, whole: Whole) -> None:
    for moment in moments:
        ended = go_on(ready, dies=moment)
        assert ended.killed, f"at {moment}: {ended}"
        for file in ready.glob("runs/*/checkpoints/.unfinished_*/state/*"):
            os.truncate(file, file.stat().st_size // 2)  # as a kill in the middle of writing leaves it
    ended = go_on(ready)
    assert ended.code == 0, ended.said
    shutil.rmtree(next((p for p in ready.glob("runs/*") if not (p / "run.json").exists()), ready / "none"), ignore_errors=True)
    assert_same(ready, whole)


@pytest.mark.parametrize("bytes_left", [1, 0.5, -1], ids=["the first byte", "half", "all but the end of the line"])
def test_a_line_of_the_journal_that_is_torn(bytes_left: float, ready: Path, whole: Whole) -> None:
    assert go_on(ready, dies="training.loop:_Run.save#2").killed  # it has just told of step 4
    (journal,) = ready.glob("runs/*/records.jsonl")
    *lines, last = journal.read_bytes().splitlines(keepends=True)
    assert b'"train/loss"' in last or b'"val/' in last
    size = int(len(last) * bytes_left) if 0 < bytes_left < 1 else int(bytes_left)
    journal.write_bytes(b"".join(lines) + last[:size])
    ended = go_on(ready)
    assert ended.code == 0, ended.said
    assert_same(ready, whole)


def test_killed_when_all_is_told(ready: Path, whole: Whole) -> None:
    assert go_on(ready, dies="tracking.recorder:update_run#2").killed  # told of its end, but not yet marked as finished
    assert go_on(ready, dies="tracking.journal:Journal.close").killed  # marked, not yet sent
    ended = go_on(ready)
    (folder,) = ready.glob("runs/*")
    assert ended.code == 1 and "no unfinished run" in ended.said
    ended = dying.run(ready, "train", f"resume={folder.name}")
    assert ended.code == 1 and f"`recap-exp send run={folder.name}` brings the rest" in ended.said
    assert_same(ready, whole)


def test_killed_while_its_data_is_made(ready: Path, whole: Whole) -> None:
    (made,) = (p for p in (ready / "data").iterdir() if p.is_dir())
    shutil.rmtree(ready / "data")
    assert go_on(ready, dies="data.write:_write_split#2").killed
    assert any((ready / "data").glob(".*/train/*"))
    ended = go_on(ready)
    assert ended.code == 0, ended.said
    assert [p.name for p in (ready / "data").iterdir() if not p.name.endswith(".lock")] == [made.name]
    assert_same(ready, whole)


def test_the_training_its_sender_or_both_are_killed(ready: Path, whole: Whole) -> None:
    assert go_on(ready, dies="training.checkpoint:Checkpoints.mark_best", sender=True).killed  # its sender goes on for a while
    process = dying.start(ready, "train", "resume=latest", dies="pyfunc:save_file", sender=True)
    while process.is_alive() and not (alive := dying.senders(ready)):
        time.sleep(0.01)
    for sender in alive:
        os.kill(sender, signal.SIGKILL)
    assert dying.end(process, ready).killed
    for sender in dying.senders(ready):
        os.kill(sender, signal.SIGKILL)
    ended = go_on(ready, sender=True)
    assert ended.code == 0, ended.said
    assert_same(ready, whole)


@pytest.mark.parametrize(
    ("dies", "overrides"),
    [("training.loop:_Run.update#5", [DROPOUT, "data.workers=2"]), ("training.checkpoint:_write_json#2", ["model=logistic_regression"])],
    ids=["data workers", "a baseline"],
)
def test_killed_with(dies: str, overrides: list[str], ready: Path, tmp_path: Path) -> None:
    ends = []
    for place in ("whole", "killed"):
        outputs = tmp_path / place
        shutil.copytree(ready, outputs)
        command = [*SMALL, *overrides, "tracking=none"]
        if place == "killed":
            assert dying.run(outputs, "train", *command, dies=dies).killed
            command = ["resume=latest"]
        ended = dying.run(outputs, "train", *command)
        assert ended.code == 0, ended.said
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECAP_OUTPUTS", str(outputs))
            run = load_run()
        ends.append(({n: t.tolist() for n, t in run.ranker("newest").state_dict().items()}, told(run.folder.path), files(run.folder.path)))
    assert repr(ends[0]) == repr(ends[1])


def test_a_run_that_goes_on_is_not_taken_up(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed, living = new_run("train", "planted"), new_run("train", "planted")
    pruned = new_run("train", "planted")
    pruned.note(status="PRUNED")
    journal = Journal(living.path)
    assert find_run("latest", finished=False).id == killed.id
    for override, said in (([], f"run {living.id} goes on in another process; wait for it, or stop it first"), (["seed=3"], "drop seed=3")):
        with pytest.raises(SystemExit) as ended:
            main(["train", f"resume={living.id}", *override])
        assert ended.value.code == 1
        assert said in capsys.readouterr().err
    journal.close()
