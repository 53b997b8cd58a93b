"""Text triples, in folders and inside an installed package."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_graph import KEEP, config, read, stored

from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.errors import DataError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RECAP_DATA."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    return tmp_path


def triples(splits: dict[str, object], **fields: object):
    files = {name: {"files": [split]} if isinstance(split, str) else split for name, split in splits.items()}
    rest = {key: fields.pop(key) for key in ("entities", *KEEP) if key in fields}
    return config(source={"kind": "triples", "splits": files, **fields}, **{**KEEP, **rest})


def test_entities_and_relations_are_read_off_the_files(data: Path) -> None:
    (data / "train.txt").write_text('zürich\tin\tch\r\nbern\t"capital of\tch\n\nch\tin\tzürich\n')
    (data / "valid.txt").write_text("oslo\tin\tch")
    graph = prepare_graph(triples({"train": "train.txt", "val": "valid.txt"}))
    assert graph.ids("entity").to_pylist() == ["bern", "ch", "oslo", "zürich"]
    assert [r.name for r in graph.schema.relations] == ['"capital of', "in"]
    assert read(graph, "train") == [(3, 1, 1), (0, 0, 1), (1, 1, 3)]
    assert read(graph, "val") == [(2, 1, 1)]


def test_order_delimiter_and_range(data: Path) -> None:
    (data / "t.csv").write_text("x,a,b\ny,a,c\nx,b,c\ny,c,a\n")
    splits = {"train": {"files": ["t.csv"], "limit": 2}, "test": {"files": ["t.csv"], "offset": 2}}
    graph = prepare_graph(triples(splits, delimiter=",", order=["rel", "lhs", "rhs"]))
    assert read(graph, "train") == [(0, 0, 1), (0, 1, 2)] and read(graph, "test") == [(1, 0, 2), (2, 1, 0)]


def test_a_vocabulary_keeps_rows_as_they_were(data: Path) -> None:
    (data / "t.txt").write_text("a\tr\tb\n")
    (data / "v.txt").write_text("z\nb\na\n")
    graph = prepare_graph(triples({"train": "t.txt"}, entities={"entity": {"vocabulary": "v.txt"}}))
    assert read(graph, "train") == [(2, 0, 1)]


@pytest.mark.skipif(find_spec("pykeen") is None, reason="pykeen is not installed")
def test_a_package_ships_them_and_is_not_imported() -> None:
    graph = prepare_graph(stored("nations"))
    assert graph.schema.entities == {"entity": 14} and len(graph.schema.relations) == 55
    assert [graph.count(split) for split in graph.splits] == [1592, 199, 201]
    first = graph.ids("entity")[read(graph, "train")[0][0]].as_py()
    assert first == "netherlands"
    assert "pykeen" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tr\tb\nc\tr\n", r"train\.txt: can't be read as triples \(CSV parse error: Row #2: Expected 3 columns, got 2"),
        ("a\tr\tb\nc\t\tb\n", r"train\.txt: line 2: rel is empty"),
        ("", r"train\.txt: can't be read as triples \(Empty CSV file\)"),
        (b"\xff\tr\tb\n", r"train\.txt: can't be read as triples .*invalid UTF8"),
    ],
)
def test_wrong_lines_are_one_line(data: Path, text: str | bytes, said: str) -> None:
    (data / "train.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said) as failed:
        prepare_graph(triples({"train": "train.txt"}))
    assert "\n" not in str(failed.value)


def test_a_relation_that_training_lacks_is_said(data: Path) -> None:
    (data / "train.txt").write_text("a\tlikes\tb\n")
    (data / "test.txt").write_text("a\tlikes\tb\nb\tlike\ta\n")
    said = r"test\.txt: line 2: relation 'like': relations are read off split 'train', which has none .*\(did you mean 'likes'\?\)"
    with pytest.raises(DataError, match=said):
        prepare_graph(triples({"train": "train.txt", "test": "test.txt"}))


def test_a_package_that_is_not_there_is_said() -> None:
    with pytest.raises(DataError, match="no package nobodys_graphs is installed: pip install nobodys_graphs"):
        prepare_graph(triples({"train": "train.txt"}, folder="package:nobodys_graphs/here"))
    with pytest.raises(DataError, match=r"no file matches train\.txt in .*json/nowhere; that folder does not exist"):
        prepare_graph(triples({"train": "train.txt"}, folder="package:json/nowhere"))
