"""Parquet edges: rows or ids, relations by number or name, splits by files, range, column or time; and everything that may be wrong."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graph import edges_config, read, write_edges

from recap_exp.data.graph import workshop
from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.errors import ConfigError, DataError

ROWS = [(0, 0, 4), (2, 1, 0), (1, 0, 0), (0, 0, 4), (2, 0, 3), (1, 1, 2), (0, 1, 1)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RECAP_DATA."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    return tmp_path


def test_rows_as_they_are(data: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    graph = prepare_graph(edges_config({"train": "a.parquet"}))
    assert read(graph, "train") == ROWS
    assert graph.schema.entities == {"user": 3, "post": 5}  # the largest row in use and one more
    assert [(r.name, r.left, r.right) for r in graph.schema.relations] == [("likes", "user", "post"), ("knows", "user", "user")]
    assert graph.ids("post").to_pylist() == [0, 1, 2, 3, 4]
    assert graph.row_of("post", "3") == 3
    assert graph.manifest["splits"]["train"]["relations"] == {"likes": 4, "knows": 3}


def test_degrees_count_both_ends(data: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    graph = prepare_graph(edges_config({"train": "a.parquet"}))
    wanted = {"user": np.zeros(3, int), "post": np.zeros(5, int)}
    for lhs, rel, rhs in ROWS:
        wanted["user"][lhs] += 1
        wanted["post" if rel == 0 else "user"][rhs] += 1
    assert {entity: counts.tolist() for entity, counts in graph.degrees().items()} == {e: c.tolist() for e, c in wanted.items()}


def test_sizes_are_those_given(data: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    graph = prepare_graph(edges_config({"train": "a.parquet"}, entities={"user": {"size": 10}, "post": {"size": 5}}))
    assert graph.schema.entities == {"user": 10, "post": 5}


def test_offset_and_limit_count_the_edges_of_all_files_that_where_keeps(data: Path) -> None:
    both = [(*e, "x" if i % 3 else "y") for i, e in enumerate(ROWS * 3)]
    write_edges(data / "a.parquet", both[:10], ("lhs", "rel", "rhs", "part"))
    write_edges(data / "b.parquet", both[10:], ("lhs", "rel", "rhs", "part"))
    kept = [e[:3] for e in both if e[3] == "x"]
    files = {"files": ["*.parquet"], "where": {"part": "x"}}
    splits = {"train": {**files, "offset": 4, "limit": 6}, "val": {**files, "limit": 4}, "test": {**files, "offset": 10}}
    graph = prepare_graph(edges_config(splits))
    assert (read(graph, "train"), read(graph, "val"), read(graph, "test")) == (kept[4:10], kept[:4], kept[10:])


def test_ids_of_any_type_are_numbered_in_sorted_order(data: Path) -> None:
    rows = [("zoe", "likes", 30), ("bé", "knows", 1), ("zoe", "likes", -7)]
    named = [(a, r, str(b)) if r == "likes" else (a, r, "zoe") for a, r, b in rows]
    write_edges(data / "a.parquet", named)
    graph = prepare_graph(edges_config({"train": "a.parquet"}, nodes="ids"))
    assert graph.ids("user").to_pylist() == ["bé", "zoe"]
    assert graph.ids("post").to_pylist() == ["-7", "30"]
    assert read(graph, "train") == [(1, 0, 1), (0, 1, 1), (1, 0, 0)]


def test_integer_ids_stay_integers_and_sort_as_such(data: Path) -> None:
    write_edges(data / "a.parquet", [(2**62, 0, 10), (-5, 0, 9), (2**62, 0, 100)])
    write_edges(data / "b.parquet", [(7, 0, 8)], lhs=pa.uint16())
    graph = prepare_graph(edges_config({"train": "a.parquet", "val": "b.parquet"}, {"likes": ("user", "post")}, nodes="ids"))
    assert graph.ids("user").to_pylist() == [-5, 7, 2**62]  # of all splits
    assert graph.ids("post").to_pylist() == [8, 9, 10, 100]
    assert graph.row_of("user", str(2**62)) == 2
    assert read(graph, "val") == [(1, 0, 0)]


def test_one_type_of_node_on_both_sides_of_different_types_of_column(data: Path) -> None:
    write_edges(data / "a.parquet", [(1, 0, "2"), (10, 0, "1")])
    graph = prepare_graph(edges_config({"train": "a.parquet"}, {"knows": ("user", "user")}, nodes="ids"))
    assert graph.ids("user").to_pylist() == ["1", "10", "2"]
    assert read(graph, "train") == [(0, 0, 2), (1, 0, 0)]


def test_given_vocabularies_say_the_rows_and_bring_attributes(data: Path) -> None:
    write_edges(data / "a.parquet", [("u2", 0, 9), ("u1", 0, 7)])
    (data / "users.txt").write_text("u1\nunused\nu2\n")
    pq.write_table(
        pa.table({"colour": pa.array(["red", None]).dictionary_encode(), "id": [9, 7], "row": [1.5, 2.5]}), data / "posts.parquet"
    )
    entities = {"user": {"vocabulary": "users.txt"}, "post": {"vocabulary": "posts.parquet"}}
    graph = prepare_graph(edges_config({"train": "a.parquet"}, {"likes": ("user", "post")}, nodes="ids", entities=entities))
    assert read(graph, "train") == [(2, 0, 0), (0, 0, 1)]
    assert graph.ids("user").to_pylist() == ["u1", "unused", "u2"]
    attributes = graph.attributes("post")
    assert attributes["colour"].tolist() == ["red", None] and attributes["row"].tolist() == [1.5, 2.5]
    assert graph.attributes("user") == {}


def test_a_vocabulary_beside_rows_names_them(data: Path) -> None:
    write_edges(data / "a.parquet", [(0, 0, 1)])
    (data / "posts.txt").write_text("p\nq\nr\n")
    entities = {"user": {"size": 1}, "post": {"vocabulary": "posts.txt"}}
    graph = prepare_graph(edges_config({"train": "a.parquet"}, {"likes": ("user", "post")}, entities=entities))
    assert graph.schema.entities == {"user": 1, "post": 3}
    assert graph.row_of("post", "q") == 1


@pytest.mark.parametrize("kind", ["int", "timestamp", "text"])
def test_time_cuts_between_moments(data: Path, kind: str) -> None:
    begin = datetime.datetime(2026, 1, 1)
    moments = [5, 1, 1, 3, 3, 3, 2, 9, 7, 8]
    said = {"int": moments, "timestamp": [begin + datetime.timedelta(hours=m) for m in moments], "text": [f"t{m}" for m in moments]}[kind]
    write_edges(data / "a.parquet", [(i, 0, 0, t) for i, t in enumerate(said)], ("lhs", "rel", "rhs", "when"))
    cut = {"columns": {"time": "when"}, "by_time": {"train": 0.5, "val": 0.2, "test": 0.3}}
    graph = prepare_graph(edges_config({"all": "a.parquet"}, {"likes": ("user", "post")}, **cut))
    # In order: 1 1 2 3 3 [3] 5 [7] 8 9: the fifth share ends among the threes, which go to the later split, together
    assert [e[0] for e in read(graph, "train")] == [1, 2, 6]
    assert [e[0] for e in read(graph, "val")] == [0, 3, 4, 5]
    assert [e[0] for e in read(graph, "test")] == [7, 8, 9]
    assert graph.manifest["made"]["splits"]["val"]["from"] == str(said[3])


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_ids_survive_the_way_to_rows_and_back(data: Path, draw: st.DataObject) -> None:
    ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3) if draw.draw(st.booleans()) else st.integers(-(2**63), 2**63 - 1)
    edges = draw.draw(st.lists(st.tuples(ids, st.integers(0, 1), ids), min_size=1, max_size=12))
    write_edges(data / "a.parquet", edges)
    relations = {"a": ("user", "user"), "b": ("user", "post")} if any(rel for _, rel, _ in edges) else {"a": ("user", "user")}
    graph = prepare_graph(edges_config({"train": "a.parquet"}, relations, nodes="ids"))
    users, posts = (graph.ids(e).to_pylist() if e in graph.schema.entities else [] for e in ("user", "post"))
    assert [(users[lhs], rel, (posts if rel else users)[rhs]) for lhs, rel, rhs in read(graph, "train")] == edges
    assert len(set(users)) == len(users)
    order = (lambda i: i.encode()) if isinstance(edges[0][0], str) else (lambda i: i)
    assert users == sorted(users, key=order)


def test_made_once_and_kept(data: Path, outputs: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    first = prepare_graph(edges_config({"train": "a.parquet"}))
    again = prepare_graph(edges_config({"train": "a.parquet"}))
    assert first.folder == again.folder
    write_edges(data / "a.parquet", ROWS[:3])
    other = prepare_graph(edges_config({"train": "a.parquet"}))
    assert other.folder != first.folder and read(other, "train") == ROWS[:3]
    assert other.digest() != first.digest() and other.digest("train") != first.digest("train")
    assert sorted(p.name for p in (outputs / "data").iterdir() if not p.name.startswith(".")) == sorted(
        [first.folder.name, other.folder.name]
    )


def test_little_memory_gives_the_same_bytes(data: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 100_000
    users = pa.array(rng.integers(0, 50_000, n)).cast(pa.string())
    pq.write_table(
        pa.table({"lhs": users, "rel": rng.integers(0, 2, n), "rhs": users.take(pa.array(rng.permutation(n)))}), data / "a.parquet"
    )
    cfg = edges_config({"train": "a.parquet"}, {"a": ("user", "user"), "b": ("user", "user")}, nodes="ids", repeats="drop")
    roomy = prepare_graph(cfg)
    monkeypatch.setenv("RECAP_OUTPUTS", str(outputs / "second"))
    monkeypatch.setattr(workshop, "MEMORY", "32MB")
    assert prepare_graph(cfg).hashes("train") == roomy.hashes("train")
    assert not list(outputs.rglob("workshop"))


@pytest.mark.parametrize(
    ("edges", "fields", "said"),
    [
        ([(0, 0, 0), (0, 2, 0)], {}, r"a\.parquet: record 1: column rel holds 2, but data\.relations has 2, numbered from 0: likes, knows"),
        ([(0, 0, 0), (-1, 0, 0)], {}, r"record 1: column lhs holds -1, but rows begin at 0"),
        (
            [(0, 0, 0), (3, 0, 0)],
            {"entities": {"user": {"size": 3}, "post": {}}},
            r"a\.parquet: record 1: column lhs holds 3, but rows of user go from 0 to 2: set data\.entities\.user\.size",
        ),
        ([("a", 0, 0)], {}, r"column lhs holds string values, wanted rows of tables; data\.source\.nodes=ids"),
        ([(0, "like", 0)], {}, r"record 0: column rel holds 'like', but data\.relations are likes, knows \(did you mean 'likes'\?\)"),
        ([(0, 0, 0), (0, 0, None)], {}, r"a\.parquet: record 1: column rhs has no value"),
        ([(0, 0, 0), (0, None, 0)], {}, r"a\.parquet: record 1: column rel has no value"),
        ([(0, 0, 0)], {"columns": {"lhs": "left"}}, r"a\.parquet: has no column left"),
        ([(0, 0, 0)], {"columns": {"time": "when"}, "by_time": {"train": 1.0}}, r"a\.parquet: has no column when"),
        ([(0, 0, 0)], {}, r"data\.entities\.nobody: no edge has a node of this type"),
        ([([1], 0, 0)], {"nodes": "ids"}, r"column lhs: ids are integers of 64 bits or texts, not list"),
    ],
)
def test_wrong_edges_are_one_line(data: Path, edges: list, fields: dict, said: str) -> None:
    write_edges(data / "a.parquet", edges)
    if "nobody" in said:
        fields = {"entities": {"user": {}, "post": {}, "nobody": {}}}
    with pytest.raises(DataError, match=said) as failed:
        prepare_graph(edges_config({"train": "a.parquet"}, **fields))
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("v.txt", "u1\nu2\n", r"a\.parquet: record 1: lhs is 'u3', which data\.entities\.user\.vocabulary=v\.txt does not have"),
        ("v.txt", "u1\n\nu3\n", r"v\.txt: line 2 is empty"),
        ("v.txt", "u1\nu3\nu1\n", r"v\.txt: rows 0 and 2 both have the id u1"),
        ("v.txt", "", r"v\.txt: holds no id of entity user"),
        ("v.txt", b"\xff\n", r"v\.txt: can't be read as text"),
        ("v.parquet", {"name": ["u1"]}, r"v\.parquet: has no column id; its columns are name"),
        ("v.parquet", {"id": ["u1", None]}, r"v\.parquet: record 1: column id has no value"),
        ("w.txt", None, r"no vocabulary is at .*v\.txt"),
    ],
)
def test_wrong_vocabularies_are_one_line(data: Path, file: str, content: object, said: str) -> None:
    write_edges(data / "a.parquet", [("u1", 0, "p"), ("u3", 0, "p")])
    if isinstance(content, dict):
        pq.write_table(pa.table(content), data / file)
    elif content is not None:
        (data / file).write_bytes(content if isinstance(content, bytes) else str(content).encode())
    entities = {"user": {"vocabulary": file.replace("w", "v")}, "post": {}}
    with pytest.raises(DataError, match=said):
        prepare_graph(edges_config({"train": "a.parquet"}, {"likes": ("user", "post")}, nodes="ids", entities=entities))


def test_empty_splits_say_why(data: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    with pytest.raises(DataError, match="split 'val' has no edges; see its files, where, offset, limit"):
        prepare_graph(edges_config({"train": "a.parquet", "val": {"files": ["a.parquet"], "offset": 7}}))
    with pytest.raises(DataError, match=r"split 'val' has no edges: all 7 were dropped \(repeats 1, seen 6\); set that rule to keep"):
        prepare_graph(edges_config({"train": "a.parquet", "val": "a.parquet"}, repeats="drop", seen="drop"))
    with pytest.raises(DataError, match="its files hold no edges"):
        prepare_graph(edges_config({"train": {"files": ["a.parquet"], "where": {"rel": 7}}}))
    with pytest.raises(DataError, match=r"no file matches b\.parquet"):
        prepare_graph(edges_config({"train": "b.parquet"}))


def test_sizes_and_vocabularies_agree(data: Path) -> None:
    write_edges(data / "a.parquet", [(0, 0, 1)])
    (data / "posts.txt").write_text("p\nq\nr\n")
    entities = {"user": {}, "post": {"vocabulary": "posts.txt", "size": 4}}
    with pytest.raises(ConfigError, match=r"data\.entities\.post\.size=4, but its vocabulary has 3 ids"):
        prepare_graph(edges_config({"train": "a.parquet"}, {"likes": ("user", "post")}, entities=entities))


def test_times_of_one_type(data: Path) -> None:
    write_edges(data / "a.parquet", [(0, 0, 1, 1)], ("lhs", "rel", "rhs", "t"))
    write_edges(data / "b.parquet", [(0, 0, 1, "x")], ("lhs", "rel", "rhs", "t"))
    with pytest.raises(DataError, match=r"b\.parquet: column t holds string values, but int64 in .*a\.parquet"):
        prepare_graph(edges_config({"train": "a.parquet", "val": "b.parquet"}, columns={"time": "t"}))


def test_a_graph_that_is_not_whole_is_said(data: Path) -> None:
    write_edges(data / "a.parquet", ROWS)
    graph = prepare_graph(edges_config({"train": "a.parquet"}))
    with pytest.raises(DataError, match="has no split 'trian' "):
        graph.count("trian")
    with pytest.raises(DataError, match="has no entity 'pots' "):
        graph.ids("pots")
    for wrong in ("9", "-1", "x", str(2**70)):
        with pytest.raises(DataError, match=f"has no post with the id {wrong}"):
            graph.row_of("post", wrong)
    next(iter(graph.entity_files)).unlink()
    with pytest.raises(DataError, match=r"entities/user\.parquet: is missing"):
        Graph.open(graph.folder)
    with pytest.raises(DataError, match="no graph is here"):
        Graph.open(data / "nowhere")


def test_a_file_that_goes_to_another_split_makes_another_graph(data: Path) -> None:
    for name, edges in (("t1", ROWS[:3]), ("t2", ROWS[3:5]), ("v1", ROWS[5:])):
        write_edges(data / f"{name}.parquet", edges)
    cfg = edges_config({"train": "t*.parquet", "val": "v*.parquet"})
    before = prepare_graph(cfg)
    (data / "t2.parquet").rename(data / "v0.parquet")
    assert read(prepare_graph(cfg), "val") == ROWS[3:] and read(before, "val") == ROWS[5:]
