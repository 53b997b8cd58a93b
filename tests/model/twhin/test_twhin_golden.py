"""The original's numbers: its look-ups, logits, loss and gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_twhin import made_model

from recap_exp.data.graph.batches import EdgeBatch
from recap_exp.data.graph.graph import GraphSchema, Relation
from recap_exp.model.twhin.tables import edge_kjt

GOLDEN = Path(__file__).parents[2] / "golden"
DOC = [[0, 1], [1, 2], [1, 0], [2, 1], [0, 2]]
"""Relations of the example in the original's documentation, read off its lengths."""
TABLES = ["0", "1"]


@cache
def golden(name="twhin.npz"):
    with np.load(GOLDEN / name) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.mark.parametrize("case, tables", [("kjt_doc", 3), ("kjt_doc4", 4), ("kjt_rand0", 2), ("kjt_rand1", 3), ("kjt_rand2", 4)])
def test_the_layout_of_its_look_ups(case, tables):
    g = golden()
    edges = "kjt_doc" if case.startswith("kjt_doc") else case
    relations_R2 = g.get(f"{edges}/relations_t", torch.tensor(DOC))
    kjt = edge_kjt(g[f"{edges}/lhs"], g[f"{edges}/rel"], g[f"{edges}/rhs"], relations_R2, [str(i) for i in range(tables)])
    assert kjt.keys() == [str(i) for i in range(tables)]
    assert kjt.stride() == 2 * len(g[f"{edges}/lhs"])
    assert torch.equal(kjt.values().int(), g[f"{case}/values"])
    assert torch.equal(kjt.lengths(), g[f"{case}/lengths"])


@pytest.mark.parametrize("batch", range(5))
def test_its_look_ups_of_the_edges_that_it_read(batch):
    g = golden("twhin_loader.npz")
    first = 16 * (batch % 3)  # 50 edges are three batches of 16, over and over
    lhs_B, rel_B, rhs_B = (g[f"edges/{name}"][first : first + 16].long() for name in ("lhs", "rel", "rhs"))
    kjt = edge_kjt(lhs_B, rel_B, rhs_B, torch.tensor([[0, 1], [1, 0]]), TABLES)
    assert torch.equal(kjt.values().int(), g[f"loader/b{batch}/values"])
    assert torch.equal(kjt.lengths(), g[f"loader/b{batch}/lengths"])


class Recorded:
    """A random generator that gives the recorded permutations' beginnings, in the order of the calls."""

    def __init__(self, case):
        self.permutations = iter([golden()[f"{case}/perm{i}"].numpy() for i in range(6) if f"{case}/perm{i}" in golden()])

    def choice(self, size, count, replace):
        drawn = next(self.permutations)
        assert not replace and len(drawn) == size
        return drawn[:count]


def original(case, translated):
    """twhin_original at the size of the recorded model, with its values, and the case's edges. translated: False: with translations 0."""
    g = golden()
    relations = tuple(Relation(str(r), TABLES[left], TABLES[right]) for r, (left, right) in enumerate(g["model/relations_t"].tolist()))
    schema = GraphSchema({name: len(g[f"model/W{name}"]) for name in TABLES}, relations)
    negatives = {"in_batch": 5, "uniform": 0, "group": "relation", "mask_true": False, "mask_own": False}
    loss = {"kind": "bce", "mean_over": "logits"}
    model = made_model(schema, moves="right", reciprocal=False, bias=False, operator_init="uniform", negatives=negatives, loss=loss)
    model.draws = lambda number: Recorded(case)
    weights = {name: model.tables.collection.embedding_bags[name].weight for name in TABLES}
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(g[f"model/W{name}"])
        model.operators.kinds["translation"].weight.copy_(g["model/trans"] if translated else torch.zeros_like(g["model/trans"]))
    rel_B = g.get(f"{case}/rel", g["model/rel_all3"] if case == "fwd_all3" else g["model/rel"])
    return model, EdgeBatch(g["model/lhs"], rel_B, g["model/rhs"]), list(weights.values())


def compared(case):
    """Its scores: positives with the translation, negatives without. In its order: positives, then for each relation the right nodes
    against left ones and the left against right ones."""
    with_t, batch, weights = original(case, translated=True)
    without_t, _, others = original(case, translated=False)
    for name, weight in zip(TABLES, weights, strict=True):
        without_t.tables.collection.embedding_bags[name].weight = weight
    assert len(others) == len(weights)
    groups = []
    for a, b in zip(*(model.look_up(model.plan(batch)) for model in (with_t, without_t)), strict=True):
        groups.append((a.group, replace(without_t.compared(b), true_E=with_t.compared(a).true_E)))
    return with_t, batch, weights, groups


def logits(batch, groups):
    true_B = torch.zeros(len(batch))
    for group, scores in groups:
        places_E = torch.nonzero(batch.rel_B == group.blocks[0]).squeeze(1)
        true_B = true_B.index_copy(0, places_E, scores.true_E)
    return torch.cat([true_B, *(scores.all_QN.flatten() for _, scores in groups)])


CASES = ["fwd_all3", "fwd_rel2_absent", "logits_all3", "logits_rel2_absent", "logits_few_per_relation"]


@pytest.mark.parametrize("case", CASES)
def test_its_logits(case):
    _, batch, _, groups = compared(case)
    torch.testing.assert_close(logits(batch, groups), golden()[f"{case}/logits"], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES[:2])
def test_its_loss_with_negatives_as_negatives(case):
    model, _, _, groups = compared(case)
    total = sum(model.loss(scores) for _, scores in groups)
    shares = sum(model.loss.share(len(scores.true_E), scores.all_QN.shape[1]) for _, scores in groups)
    torch.testing.assert_close(total / shares, golden()[f"{case}/loss_if_negatives_labelled_0"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES[:2])
def test_its_gradients(case):
    """Of the loss as it labels: all 1."""
    g = golden()
    _, batch, weights, groups = compared(case)
    loss = F.binary_cross_entropy_with_logits(logits(batch, groups), g[f"{case}/labels"], weight=g[f"{case}/weights"])
    torch.testing.assert_close(loss, g[f"{case}/loss"], rtol=1e-5, atol=1e-6)
    for i, gradient in enumerate(torch.autograd.grad(loss, weights)):
        torch.testing.assert_close(gradient, g[f"{case}/grad_table{i}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES[:2])
def test_our_loss_translates_negatives_too(case):
    """Not its number: there the translations of negatives are missing."""
    model, batch, _ = original(case, translated=True)
    bare, _, _ = original(case, translated=False)
    _, _, _, groups = compared(case)
    loss = model(batch)
    assert abs(loss.item() - golden()[f"{case}/loss_if_negatives_labelled_0"].item()) > 1e-3
    loss.backward()
    gradient = model.operators.kinds["translation"].weight.grad
    present = batch.rel_B.unique()
    assert (gradient[present] != 0).all() and len(groups) == 2 * len(present) and bare(batch) != loss
