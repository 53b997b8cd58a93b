"""Small graphs in memory, and a model with nothing but tables and translations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recap_exp.data.graph.graph import Edges, Graph, GraphSchema, Relation
from recap_exp.evaluation.links.config import LinkEvaluationConfig, LinkPartitionConfig
from recap_exp.evaluation.links.evaluate import LinkPartition


@dataclass(frozen=True)
class MadeGraph(Graph):
    """`splits` name the edges in `manifest`; they come in chunks of three."""

    def count(self, split):
        return len(self.manifest[split])

    def edges(self, split, groups=None):
        edges = self.manifest[split]
        yield from (edges.take(slice(first, first + 3)) for first in range(0, max(len(edges), 1), 3))

    def attributes(self, entity):
        return self.manifest.get("attributes", {}).get(entity, {})


def made_graph(entities, relations, attributes=None, **splits):
    """entities: type -> rows; relations: (name, left, right); splits: triples (lhs, rel, rhs)."""
    arrays = {name: np.array(triples, np.int64).reshape(-1, 3) for name, triples in splits.items()}
    edges = {name: Edges(*(array[:, i].copy() for i in range(3))) for name, array in arrays.items()}
    schema = GraphSchema(entities, tuple(Relation(*r) for r in relations))
    return MadeGraph("made", Path(), schema, {name: () for name in splits}, {**edges, "attributes": attributes or {}})


def drawn_graph(rng, entities, relations, **counts):
    """Random edges, among them repeated ones and loops."""

    def triple():
        rel = int(rng.integers(len(relations)))
        _, left, right = relations[rel]
        return int(rng.integers(entities[left])), rel, int(rng.integers(entities[right]))

    return made_graph(entities, relations, **{name: [triple() for _ in range(n)] for name, n in counts.items()})


class Translations(torch.nn.Module):
    """Score = (query + t) . candidate + bias of the candidate, its last column; lefts by translations of their own."""

    def __init__(self, tables, right, left):
        super().__init__()
        self.tables = {entity: torch.as_tensor(table) for entity, table in tables.items()}
        self.moves = {"right": torch.as_tensor(right), "left": torch.as_tensor(left)}
        self.dropout = torch.nn.Dropout(0.5)
        self.looked_up = 0

    def rows(self, ids):
        self.looked_up = max(self.looked_up, *(len(rows) for rows in ids.values()))
        return {entity: self.tables[entity][rows].float() for entity, rows in ids.items()}

    def query(self, x_BW, rel_B, side):
        return self.dropout(x_BW[:, :-1] + self.moves[side][rel_B])

    def scores(self, query_BW, candidates_NW):
        return query_BW @ candidates_NW[:, :-1].T + candidates_NW[:, -1]

    def vectors(self, entity):
        return self.tables[entity][:, :-1]


def drawn_model(rng, graph, dim=3, whole=True):
    """whole: small whole numbers, so that ties are many and scores exact."""

    def draw(rows, width):
        values = rng.integers(-1, 2, (rows, width)) if whole else rng.normal(size=(rows, width))
        return values.astype(np.float32)

    relations = len(graph.schema.relations)
    tables = {entity: draw(rows, dim + 1) for entity, rows in graph.schema.entities.items()}
    return Translations(tables, draw(relations, dim), draw(relations, dim))


def config(split="test", edges=None, **settings):
    partition = LinkPartitionConfig(split=split, edges=edges)
    return LinkEvaluationConfig(**{"partitions": {"test": partition}, "sampled_pairs": None, **settings})


def evaluated(model, graph, cfg, seed=0):
    """Partition `test` of `config`."""
    return LinkPartition(graph, "test", cfg, seed).evaluate(model)
