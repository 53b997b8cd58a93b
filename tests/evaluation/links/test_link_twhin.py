"""The real model and a real prepared graph, evaluated whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs_made import config, evaluated
from test_link_ranks import slow_ranks

from recap_exp.data.graph.config import GraphConfig, PlantedGraphSource
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.evaluation.links import rank
from recap_exp.evaluation.links.evaluate import LinkPartition
from recap_exp.evaluation.links.maps import entity_maps
from recap_exp.model.twhin.config import NegativesConfig, TwhinConfig
from recap_exp.model.twhin.twhin import Twhin

WHOLE = NegativesConfig(everything=True, in_batch=0, uniform=0)


@pytest.fixture
def graph(outputs):
    source = PlantedGraphSource(users=12, posts=15, communities=3, edges={"train": 60, "val": 8, "test": 10})
    return prepare_graph(GraphConfig(kind="graph", name="planted", source=source))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"operator": "complex", "dtype": "fp16"},
        {"operator": "translation", "comparator": "l1", "bias": False},
        {"operator": "rotation", "comparator": "l2", "reciprocal": False},
        {"comparator": "cosine", "operators": {"like": "linear"}},
        {"moves": "right", "reciprocal": False},
    ],
    ids=str,
)
def test_ranks_are_those_of_scores_one_by_one(graph, settings, monkeypatch):
    model = Twhin(TwhinConfig(name="t", dim=8, init_scale=0.5, dropout=0.3, negatives=WHOLE, **settings), graph.schema, 0)
    cfg = config()
    monkeypatch.setattr(rank, "CELLS", 40)
    for side, asked in LinkPartition(graph, "test", cfg).asked.items():
        model.eval()
        with torch.no_grad():
            rows = {entity: model.rows({entity: torch.arange(n)})[entity] for entity, n in graph.schema.entities.items()}

            def value(entity, query, rel, other, row, side=side, rows=rows):
                moved = model.query(rows[entity][[query]], torch.tensor([rel]), side).double()
                return model.scores(moved, rows[other][[row]].double()).float().item()

            expected, counted = slow_ranks(graph, cfg, side, value)
        model.train()
        np.testing.assert_array_equal(rank.ranks(model, asked, batch_size=4), expected)
        np.testing.assert_array_equal(asked.candidates_E, counted)


def test_a_whole_evaluation(graph):
    model = Twhin(TwhinConfig(name="t", dim=8, negatives=WHOLE), graph.schema, 0)
    found = evaluated(model, graph, config(candidates="all", sampled_pairs=16))
    assert found.metrics["test/edges"] == 10 and np.isfinite(list(found.metrics.values())).all()
    figure = entity_maps(model, graph)["maps/user.png"]
    assert figure.legends[0].get_title().get_text() == "community"
