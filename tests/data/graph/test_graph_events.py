"""Event logs as edges; and that Deskdrop's graph knows nothing of what its ranker is validated on."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_graph import KEEP, config, read, rules, stored

from recap_exp.composition import compose
from recap_exp.config import DataCommandConfig
from recap_exp.data.config import DataConfig
from recap_exp.data.graph.config import EventEdgesSource, instant
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.data.prepare import prepare
from recap_exp.errors import DataError

DATA = os.environ.get("RECAP_DATA", "")
"""Before it is hidden from the tests."""

# In the order of the file, which is not that of time
LOG = [
    ("ann", "x", 40, "like"),
    ("bob", "x", 10, "view"),
    ("ann", "y", 20, "view"),
    ("ann", "x", 30, "view"),
    ("ann", "x", 30, "share"),
    ("cid", "z", 50, "view"),
    ("bob", "y", 60, "scroll"),
    ("ann", "x", 70, "view"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RECAP_DATA with a log."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    pd.DataFrame(LOG, columns=["viewer", "item", "time", "event"]).to_csv(tmp_path / "log.csv", index=False)
    return tmp_path


def events(**fields):
    rest = {key: fields.pop(key) for key in ("entities", *KEEP) if key in fields}
    source = {
        "kind": "event_edges",
        "files": ["log.csv"],
        "events": {"view": ["view"], "act": ["like", "share"]},
        "by_time": {"train": 1.0},
    }
    return config(source={**source, **fields}, **{**KEEP, **rest})


def test_an_edge_for_each_event_in_time_order(data: Path) -> None:
    graph = prepare_graph(events())
    assert graph.ids("viewer").to_pylist() == ["ann", "bob", "cid"]
    assert graph.ids("item").to_pylist() == ["x", "y", "z"]
    assert read(graph, "train") == [(1, 0, 0), (0, 0, 1), (0, 0, 0), (0, 1, 0), (0, 1, 0), (2, 0, 2), (0, 0, 0)]
    assert [(r.name, r.left, r.right) for r in graph.schema.relations] == [("view", "viewer", "item"), ("act", "viewer", "item")]


def test_a_window_hides_what_is_outside_it_even_the_ids(data: Path) -> None:
    graph = prepare_graph(events(since="1970-01-01T00:00:20", until="1970-01-01T02:00:50+02:00"))
    assert graph.ids("viewer").to_pylist() == ["ann"]
    assert read(graph, "train") == [(0, 0, 1), (0, 0, 0), (0, 1, 0), (0, 1, 0)]
    assert graph.manifest["made"]["splits"]["train"]["from"] == "1970-01-01T00:00:20+00:00"
    assert graph.manifest["made"]["splits"]["train"]["to"] == "1970-01-01T00:00:40+00:00"


def test_splits_are_cut_in_time_and_rules_apply(data: Path) -> None:
    graph = prepare_graph(events(by_time={"train": 0.6, "test": 0.4}, repeats="drop", seen="drop"))
    assert read(graph, "train") == [(1, 0, 0), (0, 0, 1), (0, 0, 0), (0, 1, 0)]
    assert read(graph, "test") == [(2, 0, 2)]  # the like repeats a share, under one relation; the last view the first
    assert rules(graph, "test")["seen"] == (2, 2)


def test_integer_ids_are_those_that_rankers_carry(data: Path) -> None:
    ids = np.array([2**62, -3, 2**62])
    pd.DataFrame({"viewer": ids, "item": [1, 2, 3], "time": [1, 2, 3], "event": "view"}).to_csv(data / "log.csv", index=False)
    graph = prepare_graph(events(events={"view": ["view"]}))
    assert graph.ids("viewer").to_pylist() == [-3, 2**62]


def test_one_of_the_vocabularies_may_be_given(data: Path) -> None:
    (data / "v.txt").write_text("z\nunread\ny\nx\n")
    graph = prepare_graph(events(entities={"item": {"vocabulary": "v.txt"}}))
    assert graph.schema.entities == {"viewer": 3, "item": 4}
    assert read(graph, "train")[:2] == [(1, 0, 3), (0, 0, 2)]


def test_what_does_not_fit_is_one_line(data: Path) -> None:
    with pytest.raises(DataError, match=r"data\.source\.events\.view: the log has no event 'veiw' \(did you mean 'view'\?\)"):
        prepare_graph(events(events={"view": ["veiw"]}))
    with pytest.raises(DataError, match="no such events between since=1980-01-01 and until=None: it goes from 1970-01-01T00:00:10"):
        prepare_graph(events(since="1980-01-01"))
    with pytest.raises(DataError, match="split 'val' has no edges"):
        prepare_graph(events(by_time={"train": 0.98, "val": 0.01, "test": 0.01}))
    (data / "v.txt").write_text("ann\nbob\n")
    with pytest.raises(DataError, match=r"log\.csv: event 5: lhs is 'cid', which data\.entities\.viewer\.vocabulary=v\.txt does not have"):
        prepare_graph(events(entities={"viewer": {"vocabulary": "v.txt"}}))


@pytest.mark.skipif(not list(Path(DATA or "nowhere").glob("deskdrop/users_interactions.csv*")), reason="RECAP_DATA has no Deskdrop log")
def test_deskdrops_graph_ends_before_its_ranker_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAP_DATA", DATA)
    ranker = compose("data", ["data=deskdrop"])
    assert isinstance(ranker, DataCommandConfig) and isinstance(ranker.data, DataConfig)
    table = prepare(ranker.data, [])
    assert table.folder is not None
    made = json.loads((table.folder / "manifest.json").read_text())["made"]["splits"]
    source = stored("deskdrop_graph").source
    assert isinstance(source, EventEdgesSource) and source.until is not None
    assert datetime.fromisoformat(made["train"]["to"]) < instant(source.until) <= datetime.fromisoformat(made["val"]["from"])
    last = prepare_graph(stored("deskdrop_graph")).manifest["made"]["splits"]["test"]["to"]
    assert datetime.fromisoformat(last) < datetime.fromisoformat(made["val"]["from"])
