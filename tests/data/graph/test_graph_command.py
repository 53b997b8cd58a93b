"""`recap-exp data` of graphs, as a user runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recap_exp.cli import main
from recap_exp.composition import compose
from recap_exp.config import DataCommandConfig
from recap_exp.data.graph.config import GraphConfig
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.errors import ConfigError
from recap_exp.paths import conf_dir

GRAPHS = sorted(p.stem for p in (conf_dir() / "data").glob("*.yaml") if re.search("^kind: graph$", p.read_text(), re.MULTILINE))
SMALL = ["data=planted_graph", "data.source.users=40", "data.source.posts=50", "data.source.communities=4"]
EDGES = "data.source.edges={train: 500, val: 50, test: 60}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RECAP_DATA."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_composes_and_states_every_key(name: str) -> None:
    cfg = compose("data", [f"data={name}", *(["data.source.path=x"] if name == "graph_folder" else [])])
    assert isinstance(cfg, DataCommandConfig) and isinstance(cfg.data, GraphConfig)
    assert cfg.data.name == name
    text = (conf_dir() / "data" / f"{name}.yaml").read_text()
    for key in ("name", "source", "entities", "relations", "repeats", "seen", "mirrors", "linked"):
        assert re.search(f"^{key}:", text, re.MULTILINE), key


def test_made_written_shown_and_used_again(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("data", *SMALL, EDGES) == 0
    made = capsys.readouterr().out
    assert run_cli("data", *SMALL, EDGES, "output.path=mine", "output.splits=[train,test]") == 0
    written = capsys.readouterr().out
    assert run_cli("data", "info", "mine") == 0
    shown = capsys.readouterr().out
    for words in ("planted_graph: a graph of 610 edges", "Nodes", "community", "user0, user1, user2", "follow", "Leakage"):
        assert words in made
    assert "mine: a graph of 560 edges" in written and shown in written
    for rule in ("repeats", "seen", "mirrors", "linked"):
        assert rule in shown
    assert "val" not in shown
    again = prepare_graph(compose("data", ["data=graph_folder", "data.source.path=mine"]).data)  # type: ignore[union-attr, arg-type]
    first = prepare_graph(compose("data", [*SMALL, EDGES]).data)  # type: ignore[union-attr, arg-type]
    assert (again.name, again.folder, list(again.splits)) == ("graph_folder", data / "mine", ["train", "test"])
    assert again.schema == first.schema and again.digest("test") == first.digest("test")
    assert again.manifest["digest"] == again.digest() and first.manifest["digest"] == first.digest()
    assert run_cli("data", "data=graph_folder", "data.source.path=mine") == 0


def test_a_folder_is_not_written_twice(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("data", *SMALL, EDGES, "output.path=mine") == 0
    assert run_cli("data", *SMALL, EDGES, "output.path=mine") == 1
    assert "mine exists already: remove it, or choose another folder" in capsys.readouterr().err
    assert run_cli("data", *SMALL, EDGES, "output.path=other", "output.splits=[tran]") == 1
    assert "has no split 'tran' (did you mean 'train'?)" in capsys.readouterr().err
    assert not (data / "other").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["output.format=tfrecord"], "output.format=tfrecord: a graph is written with format=parquet alone"),
        (["output.files=2"], "output.files=2: a graph is written with files=1 alone"),
        (["data.repeats=dorp"], "data.repeats='dorp': allowed are keep, drop (did you mean 'drop'?)"),
        (["+data.source.comunities=3"], "unknown key 'data.source.comunities'"),
        (["data.source.communities=41"], "data.source: communities must be at most the number of users and of posts, not 41"),
        (["+data.entities.cat={size: 3}"], "entities.cat: source.kind=planted_graph has its own entities, and takes none"),
        (["+data.source.edges.a-b=3"], "edges: the name 'a-b' may hold letters, digits and _ alone"),
    ],
)
def test_wrong_settings_are_one_line(overrides: list[str], said: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("data", *SMALL, *overrides) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=graph_folder", "data.source.path=x", "data.seen=drop"], "seen must be keep for source.kind=graph_folder"),
        (["data=deskdrop_graph", "data.source.until=yesterday"], "until must be a time such as 2017-01-31T12:00:00, not 'yesterday'"),
        (["data=deskdrop_graph", "data.source.since=2020-01-01"], "since=2020-01-01 must be before until="),
        (["data=codex_s", "+data.source.splits.train.where.a=b"], "splits.train.where works for Parquet only"),
        (["data=codex_s", "+data.entities.entity={size: 9, vocabulary: null}"], "entities.entity.size must be null"),
        (["data=codex_s", "+data.relations.r={left: entity, right: entity}"], "relations must be empty: source.kind=triples knows its own"),
        (["data=higgs", "data.relations.reply.left=usre"], "relations.reply: no entity 'usre'"),
        (["data=higgs", "data.source.by_time={train: 0.9, test: 0.1}"], "splits must name one set of files where by_time cuts it, not 3"),
    ],
)
def test_settings_that_do_not_fit_each_other(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as failed:
        compose("data", overrides)
    assert said in str(failed.value)


def test_a_data_set_is_no_graph(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "rows").mkdir()
    (data / "rows" / "manifest.json").write_text('{"version": 1, "name": "rows"}')
    assert run_cli("data", "data=graph_folder", "data.source.path=rows") == 1
    assert "rows: holds a data set of rows, not a graph: data=dataset reads it" in capsys.readouterr().err
    assert run_cli("data", *SMALL, EDGES, "output.path=graph") == 0
    assert run_cli("data", "data=dataset", "data.source.path=graph") == 1
    assert "graph: holds a graph, not rows: data=graph_folder reads it" in capsys.readouterr().err
