"""Pictures: what they show, of ordinary graphs and of the smallest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs_made import config, drawn_graph, drawn_model, evaluated, made_graph

from recap_exp.evaluation.links.figures import _bins, _label, link_figures
from recap_exp.evaluation.links.maps import by_attribute, by_relation, entity_maps, relation_degrees

ENTITIES = {"user": 30, "post": 40, "topic": 3}
RELATIONS = [("follows", "user", "user"), ("likes", "user", "post"), ("about", "post", "topic")]


@pytest.fixture(scope="module")
def graph():
    return drawn_graph(np.random.default_rng(0), ENTITIES, RELATIONS, train=200, test=80)


def test_bins_of_degree_double():
    assert _bins(np.array([0, 1, 2, 3, 4, 7, 8, 1023, 1024])).tolist() == [0, 1, 2, 2, 3, 3, 4, 10, 11]
    assert [_label(k) for k in (0, 1, 2, 4, 10, 11)] == ["0", "1", "2–3", "8–15", "512–1k", "1k–2k"]


def test_rank_by_degree_has_a_panel_a_side_and_all_lines(graph, tmp_path):
    evaluation = evaluated(drawn_model(np.random.default_rng(1), graph), graph, config())
    ((path, figure),) = link_figures(evaluation).items()
    assert path == "evaluation/test/degree.png"
    titles = [axes.get_title() for axes in figure.axes]
    assert [t.split(",")[0] for t in titles if t] == ["left ends", "right ends"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["model", "degree", "chance"]
    rank = 1 / evaluation.columns["model"]["mrr"][:, 1]
    some = _bins(evaluation.degree_ES[:, 1]) == 3
    right = figure.axes[1]
    line = next(c for c in right.containers if c.get_label() == "model").lines[0]
    drawn = dict(zip(*line.get_data(), strict=True))
    assert drawn[3] == pytest.approx(np.mean(1 / rank[some]))
    counts = [int(text.get_text()) for text in figure.axes[3].texts]
    assert sum(counts) == evaluation.edges
    figure.savefig(tmp_path / "degree.png", dpi=40)


def test_one_edge_and_one_side_can_be_drawn(tmp_path):
    graph = made_graph({"user": 4}, [("follows", "user", "user")], train=[(0, 0, 1)], test=[(0, 0, 2)])
    evaluation = evaluated(drawn_model(np.random.default_rng(1), graph), graph, config(sides="right"))
    for figure in link_figures(evaluation).values():
        figure.savefig(tmp_path / "degree.png", dpi=40)


def test_maps_of_tables_with_enough_nodes(graph, tmp_path):
    model = drawn_model(np.random.default_rng(1), graph, whole=False)
    made = entity_maps(model, graph)
    assert list(made) == ["maps/user.png", "maps/post.png"]  # three topics are no map
    figure = made["maps/user.png"]
    assert [a.get_title().split(",")[0].split(":")[0] for a in figure.axes] == ["principal components", "t-SNE"]
    assert figure.legends[0].get_title().get_text() == "most frequent relation"
    shown = sum(len(c.get_offsets()) for c in figure.axes[1].collections)
    assert shown == (graph.degrees()["user"] > 0).sum()
    figure.savefig(tmp_path / "map.png", dpi=40)
    model.tables["user"] = torch.ones(30, 4)
    assert list(entity_maps(model, graph)) == ["maps/post.png"]  # equal vectors are no map


def test_nodes_take_the_colour_of_their_most_frequent_relation():
    graph = made_graph(ENTITIES, RELATIONS, train=[(0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 1, 0)])
    degrees = relation_degrees(graph)
    assert by_relation(graph, degrees, "user", np.array([0, 1, 2])).value_N.tolist() == ["follows →", "likes →", "→ follows"]
    assert by_relation(graph, degrees, "post", np.array([0])).value_N.tolist() == ["→ likes"]


def test_the_first_attribute_that_can_be_shown_is():
    rows = np.arange(30)
    attributes = {
        "constant": np.zeros(30, int),
        "lists": np.array([[1]] * 30 + [None], object)[:30],
        "title": np.array([f"a post {i}" for i in range(30)], object),
        "language": np.array(["en", "pt", None] * 10, object),
    }
    colours = by_attribute(attributes, rows)
    assert (colours.name, sorted(set(colours.value_N.tolist()))) == ("language", ["", "en", "pt"])
    assert by_attribute({k: v for k, v in attributes.items() if k != "language"}, rows) is None
    assert by_attribute({"year": np.arange(30)}, rows).value_N.dtype == np.float64
    assert by_attribute({"score": np.linspace(0, 1, 30)}, rows).name == "score"
    assert by_attribute({}, rows) is None


@pytest.mark.parametrize("column", [np.arange(30) % 25, np.linspace(0, 1, 30), np.arange(30) % 3])
def test_kinds_have_a_legend_and_amounts_a_bar(column, tmp_path):
    triples = [(i, 0, (i + 1) % 30) for i in range(30)]
    graph = made_graph({"user": 30}, RELATIONS[:1], attributes={"user": {"column": column}}, train=triples)
    (figure,) = entity_maps(drawn_model(np.random.default_rng(1), graph, whole=False), graph).values()
    kinds = len(set(column.tolist()))
    assert len(figure.axes) == (3 if kinds > 20 else 2)
    if kinds <= 20:
        assert [t.get_text() for t in figure.legends[0].get_texts()] == ["0", "1", "2"]
    figure.savefig(tmp_path / "map.png", dpi=40)
