"""Ranks against a double loop that does what the definition says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs_made import Translations, config, drawn_graph, drawn_model, made_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.errors import RecapError
from recap_exp.evaluation.links import rank
from recap_exp.evaluation.links.baselines import degree_ranks, relation_degree_ranks, relation_degrees, side_degrees
from recap_exp.evaluation.links.questions import edges_asked, questions
from recap_exp.evaluation.links.rank import ranks

ENTITIES = {"user": 7, "post": 5, "topic": 1}
RELATIONS = [("follows", "user", "user"), ("likes", "user", "post"), ("about", "post", "topic"), ("reads", "topic", "post")]
SPLITS = {"train": 30, "val": 4, "test": 11}


def asked_of(graph, cfg):
    return questions(graph, edges_asked(graph, "test", cfg.partitions["test"]), cfg)


def slow_ranks(graph, cfg, side, value):
    """Rank and number of candidates of every edge of the split; value(query type, query, rel, candidate type, candidate) is the score."""
    triples = {s: [tuple(map(int, t)) for e in graph.edges(s) for t in zip(e.lhs, e.rel, e.rhs, strict=True)] for s in graph.splits}
    true = {t for split in triples.values() for t in split} if cfg.filtered else set()
    found = []
    for lhs, rel, rhs in triples["test"]:
        relation = graph.schema.relations[rel]
        known, asked = ((relation.left, lhs), (relation.right, rhs))[:: 1 if side == "right" else -1]
        types = list(graph.schema.entities) if cfg.candidates == "all" else [asked[0]]
        better = equal = others = 0
        for entity in types:
            for row in range(graph.schema.entities[entity]):
                edge = (lhs, rel, row) if side == "right" else (row, rel, rhs)
                if (entity, row) in (asked, known) or (entity == asked[0] and edge in true):
                    continue
                others += 1
                lead = value(*known, rel, entity, row) - value(*known, rel, *asked)
                better += lead > 0
                equal += lead == 0
        found.append((1 + better + equal / 2, 1 + others))
    return np.array(found).T


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["type", "all"]), st.booleans(), st.sampled_from([1, 4, 512]), st.sampled_from([4, 2**22]))
def test_ranks_are_those_of_a_double_loop(seed, candidates, filtered, batch_size, cells):
    rng = np.random.default_rng(seed)
    graph = drawn_graph(rng, ENTITIES, RELATIONS, **SPLITS)
    model = drawn_model(rng, graph)
    cfg = config(candidates=candidates, filtered=filtered)
    tables = {entity: table.numpy() for entity, table in model.tables.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "CELLS", cells)
        patch.setattr(rank, "BLOCK", 5)
        for side, asked in asked_of(graph, cfg).items():
            moves = model.moves[side].numpy()

            def value(entity, query, rel, other, row, moves=moves):
                return (tables[entity][query, :-1] + moves[rel]) @ tables[other][row, :-1] + tables[other][row, -1]

            expected, counted = slow_ranks(graph, cfg, side, value)
            np.testing.assert_array_equal(ranks(model, asked, batch_size), expected)
            np.testing.assert_array_equal(asked.candidates_E, counted)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["type", "all"]), st.booleans())
def test_degrees_rank_as_a_double_loop_over_them(seed, candidates, filtered):
    graph = drawn_graph(np.random.default_rng(seed), ENTITIES, RELATIONS, **SPLITS)
    cfg = config(candidates=candidates, filtered=filtered)
    train = [t for e in graph.edges("train") for t in zip(e.lhs, e.rel, e.rhs, strict=True)]
    types = {"left": [r[1] for r in RELATIONS], "right": [r[2] for r in RELATIONS]}

    def degree(entity, row, rel, sides):
        ends = [(s, r, lhs if s == "left" else rhs) for lhs, r, rhs in train for s in sides]
        return sum(types[s][r] == entity and end == row and rel in (None, r) for s, r, end in ends)

    for side, asked in asked_of(graph, cfg).items():
        expected, _ = slow_ranks(graph, cfg, side, lambda _e, _q, _r, other, row, s=side: degree(other, row, None, (s,)))
        degrees = relation_degrees(graph)[side]
        np.testing.assert_array_equal(degree_ranks(asked, side_degrees(graph.schema, side, degrees)), expected)
        expected, _ = slow_ranks(graph, cfg, side, lambda _e, _q, r, other, row, s=side: degree(other, row, r, (s,)))
        np.testing.assert_array_equal(relation_degree_ranks(asked, degrees), expected)


def test_ties_are_shared_and_only_true_ones():
    graph = made_graph({"node": 8}, [("r", "node", "node")], train=[(0, 0, 1)], test=[(0, 0, 2), (3, 0, 3)])
    table = np.zeros((8, 4), np.float32)
    constant = Translations({"node": table}, np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
    asked = asked_of(graph, config(sides="right"))["right"]
    # of 0 -> 2: 8 nodes without 0 itself and the known 1; of 3 -> 3 the query is the answer and counts
    np.testing.assert_array_equal(asked.candidates_E, [6, 8])
    np.testing.assert_array_equal(ranks(constant, asked), [3.5, 4.5])


def test_equal_vectors_tie_whatever_the_order_of_summation():
    rng = np.random.default_rng(0)
    nodes = 3001
    graph = made_graph({"node": nodes}, [("r", "node", "node")], train=[(0, 0, 1)], test=[(i, 0, i + 1) for i in range(40)])
    table = np.repeat(rng.normal(size=(1, 130)).astype(np.float32), nodes, 0)
    model = Translations({"node": table}, *rng.normal(size=(2, 1, 129)).astype(np.float32))
    for asked in asked_of(graph, config()).values():
        np.testing.assert_array_equal(ranks(model, asked, 7), 1 + (asked.candidates_E - 1) / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(bad):
    rng = np.random.default_rng(0)
    graph = drawn_graph(rng, ENTITIES, RELATIONS, **SPLITS)
    model = drawn_model(rng, graph)
    model.tables["post"][4, -1] = bad
    asked = asked_of(graph, config())["right"]
    with pytest.raises(RecapError, match="right ends among post are not finite: the model has diverged"):
        ranks(model, asked)


def test_a_model_is_asked_without_dropout_and_in_pieces():
    rng = np.random.default_rng(1)
    entities = {"node": 1000}
    graph = drawn_graph(rng, entities, [("r", "node", "node")], train=50, test=20)
    model = drawn_model(rng, graph, whole=False).train()
    asked = asked_of(graph, config(sides="left"))["left"]
    whole = ranks(model, asked)
    assert model.training and model.looked_up == 1000
    model.looked_up = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "CELLS", 300)
        np.testing.assert_array_equal(ranks(model, asked, batch_size=10), whole)
    assert model.looked_up == 30
    assert torch.is_grad_enabled()
