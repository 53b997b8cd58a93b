"""The planted graph: the same for the same seed, distinct edges, exchangeable splits, and a structure that a translation model finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_graph import config, read, rules

from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.errors import ConfigError


def planted(**fields) -> Graph:
    return prepare_graph(config(source={"kind": "planted_graph", **fields}))


def small(**fields) -> Graph:
    return planted(**{"users": 60, "posts": 90, "communities": 5, "edges": {"train": 1500, "val": 100, "test": 200}, **fields})


def test_the_seed_says_the_graph() -> None:
    first = small()
    assert {name: first.count(name) for name in first.splits} == {"train": 1500, "val": 100, "test": 200}
    assert first.schema.entities == {"user": 60, "post": 90}
    assert small(noise=0.5).digest() != first.digest()
    assert small(seed=1).digest() != first.digest()
    train = read(first, "train")
    assert train == read(small(), "train")
    assert (0, 0, 0) not in train and all(lhs != rhs for lhs, rel, rhs in train if rel == 0)  # nobody follows himself


def test_no_edge_is_drawn_twice() -> None:
    graph = small()
    edges = [e for split in graph.splits for e in read(graph, split)]
    assert len(set(edges)) == 1800
    for split in graph.splits:
        assert rules(graph, split)["repeats"] == rules(graph, split)["seen"] == (0, 0)


def test_splits_are_exchangeable() -> None:
    """Early draws are of popular nodes: that may not be what tells training from test."""
    graph = small(edges={"train": 900, "test": 900})
    degree = sum(graph.degrees(split)["post"] for split in graph.splits)
    means = [np.mean([degree[rhs] for _, rel, rhs in read(graph, split) if rel]) for split in graph.splits]
    assert abs(means[0] - means[1]) < 0.05 * means[0]


def test_edges_go_where_the_manifest_says() -> None:
    graph = small()
    structure = graph.manifest["made"]["structure"]
    users, posts = (graph.attributes(entity)["community"] for entity in ("user", "post"))
    for rel, relation in enumerate(graph.schema.relations):
        edges = [(lhs, rhs) for lhs, r, rhs in read(graph, "train") if r == rel]
        right = posts if relation.right == "post" else users
        hit = np.mean([right[rhs] == structure["goes_to"][relation.name][users[lhs]] for lhs, rhs in edges])
        assert hit > 0.45  # of five communities


def test_a_world_with_too_few_edges_is_said() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.source\.edges=\{'train': 900\} are 900 edges, but this world has hardly more than \d+ likely"
    ):
        planted(users=10, posts=20, communities=2, edges={"train": 900})


def ranks(graph: Graph, scores: list[np.ndarray]) -> float:
    """Filtered mean reciprocal rank of the right ends of the test edges; ties half way."""
    known: dict[tuple[int, int], list[int]] = {}
    for split in graph.splits:
        for lhs, rel, rhs in read(graph, split):
            known.setdefault((lhs, rel), []).append(rhs)
    found = []
    for lhs, rel, rhs in read(graph, "test"):
        score = scores[rel][lhs].copy()
        true = score[rhs]
        score[known[lhs, rel]] = -np.inf
        found.append(1 / (1 + (score > true).sum() + (score == true).sum() / 2))
    return float(np.mean(found))


def test_a_translation_finds_what_degrees_do_not_know() -> None:
    """A plain translation model, all nodes as candidates, reaches several times the mean reciprocal rank of popularity."""
    graph = planted(users=250, posts=400, communities=16, edges={"train": 8000, "test": 500})
    right = [relation.right for relation in graph.schema.relations]
    degree = graph.degrees()
    popular = ranks(graph, [np.tile(degree[entity], (graph.schema.entities["user"], 1)).astype(float) for entity in right])

    torch.manual_seed(0)
    tables = {entity: (0.1 * torch.randn(rows, 16)).requires_grad_() for entity, rows in graph.schema.entities.items()}
    biases = {entity: torch.zeros(rows, requires_grad=True) for entity, rows in graph.schema.entities.items()}
    moves = (0.1 * torch.randn(len(right), 16)).requires_grad_()
    parameters = [*tables.values(), *biases.values(), moves]
    squares = [torch.full_like(p, 1e-8) for p in parameters]
    lhs, rel, rhs = torch.tensor(read(graph, "train")).T
    for _ in range(120):
        batch = torch.randint(0, len(lhs), (256,))
        loss = torch.zeros(())
        for r, entity in enumerate(right):
            of = batch[rel[batch] == r]
            logits = (tables["user"][lhs[of]] + moves[r]) @ tables[entity].T + biases[entity]
            loss = loss + torch.nn.functional.cross_entropy(logits, rhs[of], reduction="sum") / 256
        for p, square, grad in zip(parameters, squares, torch.autograd.grad(loss, parameters), strict=True):  # Adagrad
            square += grad**2
            p.data -= 0.2 * grad / square.sqrt()
    with torch.no_grad():
        learned = [((tables["user"] + moves[r]) @ tables[entity].T + biases[entity]).numpy() for r, entity in enumerate(right)]
    assert ranks(graph, learned) > 2.5 * popular
