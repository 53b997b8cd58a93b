"""Leakage rules, against a few lines of Python that say what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graph import KEEP, edges_config, read, rules, write_edges

from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph

RELATIONS = {"likes": ("user", "post"), "knows": ("user", "user"), "by": ("post", "user"), "blocks": ("user", "user")}
TYPES = list(RELATIONS.values())


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RECAP_DATA."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    return tmp_path


def prepared(data: Path, splits: dict[str, list], **chosen: str) -> Graph:
    for name, edges in splits.items():
        write_edges(data / f"{name}.parquet", edges)
    sized = {"entities": {"user": {"size": 6}, "post": {"size": 6}}}
    return prepare_graph(edges_config({name: f"{name}.parquet" for name in splits}, RELATIONS, **sized, **chosen))


def leaks(rule: str, edge: tuple, other: tuple) -> bool:
    """Whether an edge of an earlier split gives an edge away."""
    (lhs, rel, rhs), (lhs2, rel2, rhs2) = edge, other
    left, right = TYPES[rel]
    if rule == "seen":
        return edge == other
    if rule == "linked":
        return (lhs, rhs, left, right) == (lhs2, rhs2, *TYPES[rel2]) and rel != rel2
    return (lhs, rhs, left, right) == (rhs2, lhs2, *reversed(TYPES[rel2])) and not (lhs == rhs and left == right)


def reference(splits: dict[str, list], chosen: dict[str, str]) -> tuple[dict[str, list], dict[str, dict]]:
    """Edges that stay, and what each rule found and dropped."""
    earlier: list = []
    kept, found = {}, {}
    for name, edges in splits.items():
        part, found[name] = list(edges), {}
        for rule in KEEP:
            if rule == "repeats":
                left = list(dict.fromkeys(part))
            else:
                left = [e for e in part if not any(leaks(rule, e, other) for other in earlier)]
            drops = chosen.get(rule) == "drop"
            found[name][rule] = (len(part) - len(left), (len(part) - len(left)) * drops)
            part = left if drops else part
        kept[name] = part
        earlier += part
    return kept, found


def test_each_rule_by_itself(data: Path) -> None:
    splits = {
        "train": [(0, 0, 1), (0, 1, 1), (2, 1, 2), (0, 0, 1)],
        # seen; mirror of (0 knows 1); linked to it; mirror of (0 likes 1) by another relation; a node's edge to itself has no mirror
        "val": [(0, 0, 1), (1, 1, 0), (0, 3, 1), (1, 2, 0), (2, 3, 2), (3, 0, 3)],
    }
    everything = prepared(data, splits)
    assert rules(everything, "train") == {"repeats": (1, 0), "seen": (0, 0), "mirrors": (0, 0), "linked": (0, 0)}
    assert rules(everything, "val") == {"repeats": (0, 0), "seen": (1, 0), "mirrors": (2, 0), "linked": (2, 0)}
    assert read(everything, "val") == splits["val"] and read(everything, "train") == splits["train"]
    none = prepared(data, splits, **dict.fromkeys(KEEP, "drop"))
    assert rules(none, "val") == {"repeats": (0, 0), "seen": (1, 1), "mirrors": (2, 2), "linked": (2, 2)}
    assert read(none, "val") == [(3, 0, 3)] and read(none, "train") == splits["train"][:3]


def test_a_dropped_edge_gives_nothing_away(data: Path) -> None:
    """The test edge repeats one that validation had to give up: training does not know it."""
    splits = {"train": [(0, 1, 1)], "val": [(1, 3, 0), (2, 1, 3)], "test": [(1, 3, 0), (3, 1, 3)]}
    graph = prepared(data, splits, seen="drop", mirrors="drop")
    assert rules(graph, "val")["mirrors"] == (1, 1)
    assert rules(graph, "test")["seen"] == (0, 0) and rules(graph, "test")["mirrors"] == (1, 1)


def test_rows_of_two_types_are_not_the_same_node(data: Path) -> None:
    graph = prepared(data, {"train": [(0, 0, 1)], "val": [(0, 1, 1), (1, 1, 0)]}, mirrors="drop", linked="drop")
    assert read(graph, "val") == [(0, 1, 1), (1, 1, 0)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_as_a_plain_reading_of_the_rules_says(data: Path, draw: st.DataObject) -> None:
    edge = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2))
    # The last edge of each split is never dropped, being from a node of its own to itself: a split without edges is an error.
    splits = {name: [*draw.draw(st.lists(edge, max_size=20)), (3 + i, 1, 3 + i)] for i, name in enumerate(("train", "val", "test"))}
    chosen = {rule: draw.draw(st.sampled_from(["keep", "drop"])) for rule in ("repeats", "seen", "mirrors")}
    kept, found = reference(splits, chosen)
    graph = prepared(data, splits, **chosen)
    assert {name: read(graph, name) for name in splits} == kept
    assert {name: rules(graph, name) for name in splits} == found
