"""The model's loss against edges compared one by one; its negatives, and what evaluation asks of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_twhin import SCHEMA, made_batch, made_model

from recap_exp.data.graph.batches import EdgeBatch
from recap_exp.errors import ConfigError
from recap_exp.model.twhin.losses import MASKED
from recap_exp.model.twhin.tables import BLOCK, Tables

NEGATIVES = {
    "in_batch": {"in_batch": 6, "uniform": 0},
    "uniform": {"in_batch": 0, "uniform": 6},
    "by_degree": {"in_batch": 0, "uniform": 0, "by_degree": 6},
    "mixed": {"in_batch": 3, "uniform": 2, "by_degree": 4},
    "chunks": {"in_batch": 3, "uniform": 2, "chunk": 7},
    "one_a_chunk": {"in_batch": 3, "uniform": 2, "chunk": 1},
    "by_relation": {"in_batch": 3, "uniform": 2, "group": "relation"},
    "not_masked": {"in_batch": 6, "uniform": 2, "mask_true": False, "mask_own": False},
    "own_masked": {"in_batch": 6, "uniform": 9, "mask_true": False, "chunk": 5},
    "everything": {"in_batch": 0, "uniform": 0, "everything": True},
    "everything_own": {"in_batch": 0, "uniform": 0, "everything": True, "mask_true": False},
    "everything_unmasked": {"in_batch": 0, "uniform": 0, "everything": True, "mask_true": False, "mask_own": False},
}


def edges_of(batch):
    return list(zip(batch.lhs_B.tolist(), batch.rel_B.tolist(), batch.rhs_B.tolist(), strict=True))


def score(model, known, rel, end, side):
    """Of one edge, through what evaluation uses."""
    relation = SCHEMA.relations[rel]
    known_type, end_type = (relation.left, relation.right) if side == "right" else (relation.right, relation.left)
    rows = model.rows({known_type: torch.tensor([known])})[known_type]
    ends = model.rows({end_type: torch.tensor([end])})[end_type]
    return model.scores(model.query(rows, torch.tensor([rel]), side), ends).item()


def is_own(edge, side, candidate):
    """Whether a candidate is the query's own node."""
    relation = SCHEMA.relations[edge[1]]
    return relation.left == relation.right and candidate == (edge[0] if side == "right" else edge[2])


def kept_own(made, batch, masks):
    """A true edge from a node to itself stays among the candidates where no true one is masked."""
    return not masks.mask_true and made in set(edges_of(batch))


@pytest.mark.parametrize("comparator", ["dot", "l1"])
@pytest.mark.parametrize("case", NEGATIVES)
def test_scores_are_those_of_edges_one_by_one(case, comparator):
    model, batch = made_model(negatives=NEGATIVES[case], comparator=comparator).eval(), made_batch(3, size=23)
    with torch.no_grad():
        plan = model.plan(batch)
        here = list(zip(plan.lhs_E.tolist(), plan.rel_E.tolist(), plan.rhs_E.tolist(), strict=True))
        assert Counter(here) == Counter(edges_of(batch))
        masks, stops, asked = model.cfg.negatives, np.cumsum([0, *plan.counts]), {"left": [], "right": []}
        for group in model.look_up(plan):
            side = group.group.side
            edges = [edge for b in group.group.blocks for edge in here[stops[b] : stops[b + 1]]]
            asked[side] += edges
            scores = model.compared(group)
            queries = range(len(edges)) if scores.query_E is None else scores.query_E.tolist()
            for e, (edge, q) in enumerate(zip(edges, queries, strict=True)):
                lhs, rel, rhs = edge
                known, true = (lhs, rhs) if side == "right" else (rhs, lhs)
                assert scores.true_E[e].item() == pytest.approx(score(model, known, rel, true, side), abs=1e-5)
                chunk = 0 if len(group.group.candidates_CN) == 1 else e // group.group.chunk
                for n, candidate in enumerate(group.group.candidates_CN[chunk].tolist()[:4]):
                    made = (known, rel, candidate) if side == "right" else (candidate, rel, known)
                    true_one = made in set(edges_of(batch))
                    if (masks.mask_true and true_one) or (
                        masks.mask_own and is_own(edge, side, candidate) and not kept_own(made, batch, masks)
                    ):
                        assert scores.all_QN[q, n] == MASKED
                    else:
                        assert scores.all_QN[q, n].item() == pytest.approx(score(model, known, rel, candidate, side), abs=1e-5)
                assert scores.count_Q[q] == (scores.all_QN[q] != MASKED).sum()
        assert Counter(asked["left"]) == Counter(asked["right"]) == Counter(edges_of(batch))


def test_softmax_over_all_entities_is_the_naive_formula():
    """Every edge on both sides: log sum exp over the whole table less the true score, in a loop, and its gradient."""
    negatives = {"in_batch": 0, "uniform": 0, "everything": True, "mask_true": False}
    model, batch = made_model(negatives=negatives), made_batch(0, size=40)
    alike = next(i for i, r in enumerate(SCHEMA.relations) if r.left == r.right)
    batch.rel_B[0], batch.rhs_B[0] = alike, batch.lhs_B[0]  # an edge from a node to itself
    loss = model(batch)
    found = torch.autograd.grad(loss, list(model.parameters()))
    total = 0
    for lhs, rel, rhs in edges_of(batch):
        relation = SCHEMA.relations[rel]
        for side, known_type, end_type, known, end in (
            ("right", relation.left, relation.right, lhs, rhs),
            ("left", relation.right, relation.left, rhs, lhs),
        ):
            whole = {name: table.weight for name, table in model.tables.collection.embedding_bags.items()}
            scores = model.scores(model.query(whole[known_type][[known]], torch.tensor([rel]), side), whole[end_type])[0]
            itself = {a for a, r, b in edges_of(batch) if a == b and r == rel and relation.left == relation.right}
            if known_type == end_type and known not in itself:
                scores = scores.index_fill(0, torch.tensor([known]), -torch.inf)
            total = total + scores.logsumexp(0) - scores[end]
    naive = total / (2 * len(batch))
    torch.testing.assert_close(loss, naive)
    for a, b in zip(found, torch.autograd.grad(naive, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    edges=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=15),
    chunk=st.sampled_from([None, 1, 2, 5]),
    processes=st.integers(1, 4),
    everything=st.booleans(),
)
def test_the_processes_of_a_group_share_the_edges_and_what_is_drawn(sizes, edges, chunk, processes, everything):
    negatives = {"in_batch": 0, "uniform": 0, "everything": True} if everything else {"in_batch": 2, "uniform": 2, "chunk": chunk}
    model = made_model(negatives=negatives)
    model.planner.sizes = dict(zip(model.planner.sizes, sizes, strict=True))
    arrays = [np.array(column) for column in zip(*edges, strict=True)]
    arrays[0] %= min(sizes)
    arrays[2] %= min(sizes)

    def plan(rank, of):
        return model.planner.plan(*arrays, np.random.default_rng(0), rank, of, 0.3, 8)

    whole, parts = plan(0, 1), [plan(rank, processes) for rank in range(processes)]
    assert np.array_equal(np.concatenate([p.lhs_E for p in parts]), whole.lhs_E)
    assert np.abs(np.diff([len(p.lhs_E) for p in parts])).max(initial=0) <= 1
    assert all(p.shares == whole.shares for p in parts)
    for g in whole.groups:
        mine = [h for p in parts for h in p.groups if (h.side, h.entity, h.blocks) == (g.side, g.entity, g.blocks)]
        assert {tuple(row) for h in mine for row in h.candidates_CN} == {tuple(row) for row in g.candidates_CN}
        if not everything:
            assert np.array_equal(np.concatenate([h.keep_QD for h in mine]), g.keep_QD)
            assert sum(len(h.masked_row) for h in mine) == len(g.masked_row)


def test_negatives_are_drawn_as_configured():
    draws = 4000
    model = made_model(negatives={"in_batch": draws, "uniform": draws, "by_degree": draws, "exponent": 2.0, "mask_true": False})
    batch = made_batch(relations=(0,))
    (group,) = [g for g in model.plan(batch).groups if g.side == "right"]
    in_batch, uniform, by_degree = group.candidates_CN[0].reshape(3, draws)
    rows = SCHEMA.entities["post"]
    assert Counter(in_batch.tolist()).keys() == Counter(batch.rhs_B.tolist()).keys()
    spread = np.bincount(in_batch, minlength=rows) / draws - np.bincount(batch.rhs_B, minlength=rows) / len(batch)
    assert abs(spread).max() <= 1 / len(batch), "every edge's end equally often"
    assert np.bincount(uniform, minlength=rows) == pytest.approx(np.full(rows, draws / rows), abs=50)
    weights = np.arange(rows) ** 2.0
    assert np.bincount(by_degree, minlength=rows) == pytest.approx(draws * weights / weights.sum(), abs=80)


def test_a_batch_draws_the_same_again_and_another_batch_or_seed_other_negatives():
    def candidates(seed, number):
        return made_model(seed=seed).plan(made_batch(number)).groups[0].candidates_CN.tolist()

    assert candidates(0, 5) == candidates(0, 5)
    assert len({str(candidates(*c)) for c in ((0, 5), (0, 6), (1, 5))}) == 3


def test_dropout_is_of_training_alone_and_keeps_the_mean():
    model, batch = made_model(dropout=0.5), made_batch()
    assert model(batch) == model(batch) != made_model()(batch)
    assert model.eval()(batch) == made_model()(batch)
    keep = np.concatenate([group.keep_QD.ravel() for group in model.train().plan(batch).groups])
    assert set(np.unique(keep)) == {0.0, 2.0}
    assert keep.mean() == pytest.approx(1, abs=0.1)


def test_regularisation_adds_its_weight_times_the_mean_penalty():
    batch = made_batch()
    extra = [made_model(regularisation={"weight": w, "p": 3})(batch) - made_model()(batch) for w in (0.5, 1.0)]
    assert 0 < 2 * extra[0].item() == pytest.approx(extra[1].item(), rel=1e-4)


def test_initial_values_are_those_of_the_row_however_the_tables_are_cut():
    sizes = {"a": 3 * BLOCK + 5, "b": 10}
    tables = Tables(sizes, 4, bias=True, fp16=False, scale=0.01, seed=3)
    whole = tables.table("a")
    part = torch.empty(BLOCK + 7, 8)
    tables._draw("a", part, BLOCK - 3)
    assert torch.equal(part, whole[BLOCK - 3 : 2 * BLOCK + 4])
    assert whole[:, :4].std() == pytest.approx(0.01, rel=0.05)
    assert (whole[:, 4:] == 0).all()
    assert not torch.equal(whole[:10], tables.table("b"))


def test_half_precision_tables_give_nearly_the_same():
    batch = made_batch()
    half = made_model(dtype="fp16")
    assert half.tables.weights()["user"].dtype == torch.float16
    assert half.vectors("user").dtype == torch.float32
    assert half(batch).item() == pytest.approx(made_model()(batch).item(), abs=5e-3)


def test_what_evaluation_asks():
    model = made_model()
    rows = model.rows({"post": torch.tensor([4, 4, 0])})
    assert list(rows) == ["post"] and rows["post"].shape == (3, 12)
    assert torch.equal(rows["post"][:, :8], model.vectors("post")[[4, 4, 0]])
    assert torch.equal(rows["post"][:, 8], model.biases("post")[[4, 4, 0]])
    assert made_model(bias=False).biases("post") is None
    double = model.scores(model.query(rows["post"], torch.tensor([3, 3, 3]), "left").double(), rows["post"].double())
    assert double.shape == (3, 3) and double.dtype == torch.float64


def test_degrees_are_needed_to_draw_by_them():
    with pytest.raises(ConfigError, match=r"by_degree=3: needs the degrees"):
        made = made_model(negatives={"by_degree": 3})
        type(made)(made.cfg, SCHEMA, 0)


def test_a_batch_of_fewer_edges_than_processes():
    model = made_model()
    model.tables.processes = 3
    with pytest.raises(ConfigError, match="2 edges can't be shared by 3 processes"):
        model(made_batch(size=2))


def test_a_relation_that_a_batch_lacks():
    batch = made_batch(relations=(2,))
    one = EdgeBatch(batch.lhs_B, torch.zeros_like(batch.rel_B), batch.rhs_B)
    for edges in (batch, one):
        made_model()(edges).backward()
