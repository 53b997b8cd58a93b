"""A run that goes nowhere (kind none): everything is in its folder."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recap_exp.tracking.destination import default_uri, resolve_uri
from recap_exp.tracking.journal import read


def records(folder: Path) -> list[dict[str, Any]]:
    return [r for r, _ in read(folder / "records.jsonl")]


def test_none_keeps_everything_in_the_run_folder(outputs: Path, open_run: Any) -> None:
    tracker = open_run("r", kind="none")
    tracker.params({"seed": 1, "model.name": "small"})
    tracker.metrics({"train/loss": np.float32(0.5), "val/auroc/mean": float("nan")}, 3)
    tracker.text("a: 1\n", "config.yaml")
    assert tracker.mlflow_run_id(timeout=None) is None
    assert tracker.url is None
    assert tracker.finish() is True
    found = records(outputs / "runs/r")
    assert [r["k"] for r in found] == ["start", "params", "metrics", "artifact", "end"]
    assert found[0]["uri"] is None
    assert found[1]["v"] == {"seed": "1", "model.name": "small"}
    assert found[2]["v"]["train/loss"] == 0.5
    assert (outputs / "runs/r/artifacts/config.yaml").read_text() == "a: 1\n"
    assert not (outputs / "mlflow.db").exists()


def test_tables_and_figures(outputs: Path, open_run: Any) -> None:
    import matplotlib.figure

    tracker = open_run("r", kind="none")
    columns = {"task": ["like", "reply, quoted"], "auroc": [np.float64(0.75), float("nan")], "n": [np.int64(3), 4]}
    tracker.table(columns, "evaluation/val.csv")
    tracker.table(columns, "evaluation/val.json")
    tracker.figure(matplotlib.figure.Figure(), "score/groups.png")
    tracker.finish()
    folder = outputs / "runs/r/artifacts"
    with open(folder / "evaluation/val.csv") as file:
        assert list(csv.reader(file)) == [["task", "auroc", "n"], ["like", "0.75", "3"], ["reply, quoted", "", "4"]]
    stored = json.loads((folder / "evaluation/val.json").read_text())
    assert stored == {"columns": ["task", "auroc", "n"], "data": [["like", 0.75, 3], ["reply, quoted", None, 4]]}
    assert (folder / "score/groups.png").read_bytes().startswith(b"\x89PNG")
    shown = [r["v"] for r in records(outputs / "runs/r") if r["k"] == "tags"]
    assert json.loads(shown[-1]["mlflow.loggedArtifacts"]) == [{"path": "evaluation/val.json", "type": "table"}]
    assert not [p.name for p in folder.rglob(".*")]


def test_artifacts_are_linked_not_copied(outputs: Path, open_run: Any) -> None:
    tracker = open_run("r", kind="none")
    checkpoint = outputs / "runs/r/checkpoints/step-10"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"x" * 1000)
    tracker.artifact(checkpoint, "checkpoint")
    tracker.artifact(checkpoint / "weights", "single")
    tracker.artifact(checkpoint / "weights", "single")  # twice is once
    tracker.finish()
    linked = outputs / "runs/r/artifacts/checkpoint/weights"
    assert os.path.samefile(linked, checkpoint / "weights")
    assert os.path.samefile(outputs / "runs/r/artifacts/single/weights", linked)


def test_an_artifact_stays_inside_the_run(open_run: Any) -> None:
    tracker = open_run("r", kind="none")
    with pytest.raises(ValueError, match="inside the run's artifacts"):
        tracker.text("x", "../../elsewhere")
    tracker.finish()


def test_a_cell_longer_than_its_column_is_an_error(open_run: Any) -> None:
    tracker = open_run("r", kind="none")
    with pytest.raises(ValueError, match="zip"):
        tracker.table({"a": [1], "b": [1, 2]}, "t.csv")
    tracker.finish()


def test_which_store(outputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from recap_exp.errors import ConfigError
    from recap_exp.tracking.config import TrackingConfig

    assert resolve_uri(None) == default_uri() == f"sqlite:///{outputs}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000/")
    assert resolve_uri(None) == "http://tracking:5000"
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///mine.db") == f"sqlite:///{tmp_path}/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI must begin with http://.*'\./mlruns'"):
        resolve_uri(None)
    with pytest.raises(ValueError, match=r"tracking\.uri must begin with"):
        TrackingConfig(uri="file:///tmp/mlruns")
