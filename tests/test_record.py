"""How a run is called, and what it is told apart by."""

from __future__ import annotations

import pytest

from recap_exp.composition import compose
from recap_exp.errors import DataError
from recap_exp.record import RunRecord, params, recording, run_name
from recap_exp.runs import new_run
from recap_exp.tracking.journal import records


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "planted"),
        (["experiment=deskdrop"], "planted"),
        (["model=masknet_serial", "seed=1", "tracking=none"], "masknet_serial seed=1"),
        (["optimizer.backbone.rate=1e-3", "~tasks.is_replied"], "optimizer.backbone.rate=1e-3 ~tasks.is_replied"),
    ],
)
def test_a_run_is_named_by_what_differs(overrides, name):
    assert run_name("planted", overrides) == name


def test_params_are_few_and_include_what_was_asked_for():
    found = params(compose("train", ["model.tower.dropout=0.1", "trainer.steps=50"]), also=["model.input.clip"])
    assert found["model.tower.dropout"] == 0.1
    assert found["trainer.steps"] == 50
    assert found["model.input.clip"] == 5.0
    assert found["model.name"] == "masknet_parallel"
    assert len(found) < 15


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("train.csv: no rows"), "train.csv: no rows"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_run_says_why(error, said):
    folder = new_run("train", "planted", "seed: 1\n")
    with pytest.raises(type(error)), recording(RunRecord, compose("train", ["tracking=none"]), folder, "planted"):
        raise error
    found = list(records(folder.path))
    assert {"recap.error": said} in [r["v"] for r in found if r["k"] == "tags"]
    assert (found[-1]["k"], found[-1]["status"]) == ("end", "FAILED")
    assert "in test_a_failed_run_says_why" in (folder.path / "artifacts/error.txt").read_text()


def test_ctrl_c_is_no_error():
    folder = new_run("train", "planted", "seed: 1\n")
    with pytest.raises(KeyboardInterrupt), recording(RunRecord, compose("train", ["tracking=none"]), folder, "planted"):
        raise KeyboardInterrupt
    found = list(records(folder.path))
    assert not any("recap.error" in r["v"] for r in found if r["k"] == "tags")
    assert found[-1]["status"] == "KILLED"
    assert not (folder.path / "artifacts/error.txt").exists()
