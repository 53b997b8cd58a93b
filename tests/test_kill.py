"""kill -9 at any moment: the run goes on from where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import dying
import pytest

from recap_exp.finished import load_run
from recap_exp.tracking.send import send

SMALL = (
    "data.source.rows={train: 1500, val: 400, test: 400}",
    "trainer.steps=12",
    "trainer.batch_size=64",
    "trainer.accumulate=2",
    "trainer.evaluate_every=4",
    "trainer.checkpoint_every=3",
    "trainer.log_every=2",
    "trainer.keep_checkpoints=1",
    "model.tower.dropout=0.1",
    "evaluation.pictures=[]",
)


class Whole:
    """A run that nothing happened to, with the prepared data and the store that the others start from."""

    def __init__(self, folder: Path) -> None:
        from recap_exp.tracking.store import Store

        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        Store(f"sqlite:///{self.outputs}/mlflow.db")
        self.start = folder / "start"
        shutil.copytree(self.outputs, self.start)
        assert dying.run(self.outputs, "train", *SMALL).code == 0
        shutil.copytree(self.outputs / "data", self.start / "data")
        self.moments = (self.outputs / dying.MOMENTS).read_text().splitlines()
        self.found = found(self.outputs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    dying.warm_up()
    return Whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def outputs(outputs: Path, whole: Whole) -> Path:
    """outputs/ with the prepared data and an empty store."""
    shutil.copytree(whole.start, outputs)
    return outputs


def found(outputs: Path) -> dict[str, Any]:
    """All that the one run in `outputs` left, in its folder and, once the rest is sent, in MLflow: what must not depend on any kill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECAP_OUTPUTS", str(outputs))
        assert send() == 0
        (folder,) = outputs.glob("runs/*")
        ranker = load_run(folder.name).ranker()
    card = json.loads((folder / "run.json").read_text())
    database = sqlite3.connect(outputs / "mlflow.db")
    ((mlflow_id, status, name),) = database.execute("select run_uuid, status, name from runs").fetchall()
    assert mlflow_id == card["mlflow_run_id"]
    points = database.execute("select key, step, value, is_nan from metrics where run_uuid = ?", [mlflow_id]).fetchall()
    places = [key[:2] for key in points]
    assert len(places) == len(set(places)), "a point is in the store twice"
    last = folder / "checkpoints/step_00000012"
    meta = json.loads((last / "meta.json").read_text())
    return {
        "status": (card["status"], status),
        "name": name,
        "journal": {key: repr(value) for key, value in told(folder).items()},
        "store": sorted(p for p in points if not p[0].startswith("perf/")),
        "params": sorted(database.execute("select key, value from params").fetchall()),
        "data": database.execute("select name, digest from datasets order by 1, 2").fetchall(),
        "weights": {name: tensor.tolist() for name, tensor in ranker.state_dict().items()},
        "random": json.loads((last / "random.json").read_text()),
        "state": {key: value for key, value in meta.items() if key != "extra"},
        "files": files(folder),
        "artifacts": files(outputs / "mlartifacts" / mlflow_id),
    }


def told(folder: Path) -> dict[tuple[str, int | None], float]:
    """Every point of the journal but timings; none is there twice."""
    records = []
    for line in (folder / "records.jsonl").read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # torn by a kill
    points = [((name, r["step"]), value) for r in records if r["k"] == "metrics" for name, value in r["v"].items()]
    assert len(points) == len(dict(points)), "a point is in the journal twice"
    return {key: value for key, value in points if not key[0].startswith("perf/")}


def files(folder: Path) -> list[str]:
    """Everything under a folder, hidden files too, but for locks and logs."""
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*"))
    return sorted(p for p in paths if not p.endswith((".lock", ".log")))


def same(outputs: Path, whole: Whole) -> None:
    """Part by part, so that a difference is short to read."""
    now = found(outputs)
    for part, value in whole.found.items():
        if isinstance(value, dict):
            assert now[part].keys() == value.keys(), part
            differs = {key for key in value if now[part][key] != value[key]}
            assert not differs, f"{part}: {sorted(map(str, differs))[:9]}"
        else:
            assert now[part] == value, part


def go_on(outputs: Path, dies: int | str | None = None) -> dying.Ended:
    """The command that a user gives after a kill: a new run where the first died before it had a folder."""
    again = any(outputs.glob("runs/*/run.json"))
    return dying.run(outputs, "train", *(["resume=latest"] if again else SMALL), dies=dies)


@pytest.mark.parametrize("seed", range(8))
def test_killed_three_times_at_random_it_ends_as_if_never_killed(seed: int, outputs: Path, whole: Whole, request: Any) -> None:
    draw = random.Random(seed)
    share = (seed + draw.random()) / 8
    moments = [1 + int(share * (len(whole.moments) - 1)), draw.randint(1, 60), draw.randint(1, 60)]
    print(f"seed {seed}: killed at changes {moments}, the first being {whole.moments[moments[0] - 1]}")
    for moment in moments:
        ended = go_on(outputs, dies=moment)
        assert ended.killed, f"at {moment}: {ended}"
    assert (ended := go_on(outputs)).code == 0, ended.said
    same(outputs, whole)
