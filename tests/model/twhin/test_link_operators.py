"""Operators and comparators: what is moved, and that it can be moved to the other side where the configuration says so."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.model.twhin.comparators import COMPARATORS
from recap_exp.model.twhin.config import WITHOUT_RECIPROCAL, TwhinConfig
from recap_exp.model.twhin.operators import OPERATORS, Operators

DIM, RELATIONS = 8, 3
PAIRS = [(comparator, operator) for comparator, operators in WITHOUT_RECIPROCAL.items() for operator in operators]


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(operator="translation", comparator="dot", seed=0, **settings):
    cfg = TwhinConfig(name="t", dim=DIM, operator=operator, comparator=comparator, init_scale=0.7, **settings)
    return Operators(cfg, [f"r{i}" for i in range(RELATIONS)], seed).double()


def score(operators, x_BD, rel_B, y_BD, asked):
    """Of x known and y asked for."""
    query = operators.query(x_BD, rel_B, asked)
    constant = query[:, DIM] if query.shape[1] > DIM else 0
    return COMPARATORS[operators.cfg.comparator].each(query[:, :DIM], y_BD) + constant


@pytest.mark.parametrize("moves", ["left", "right"])
@pytest.mark.parametrize("comparator, operator", PAIRS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_without_reciprocal_an_edge_has_one_score(moves, comparator, operator, seed):
    if moves == "right" and comparator != "dot":
        return
    operators = made(operator, comparator, seed, reciprocal=False, moves=moves)
    left, right, rel = drawn(seed, 5, DIM), drawn(seed + 1, 5, DIM), torch.arange(5) % RELATIONS
    torch.testing.assert_close(score(operators, left, rel, right, "right"), score(operators, right, rel, left, "left"))


@pytest.mark.parametrize("operator", OPERATORS)
def test_what_an_operator_does(operator):
    operators, x, rel = made(operator), drawn(1, 4, DIM), torch.tensor([0, 2, 1, 0])
    state = operators.state_dict()
    w = next(iter(state.values()))[rel] if state else None
    re, im = x[:, : DIM // 2], x[:, DIM // 2 :]
    z = torch.complex(re, im)
    if operator in ("complex", "rotation"):
        c = torch.complex(w[:, : DIM // 2], w[:, DIM // 2 :]) if operator == "complex" else torch.polar(torch.ones_like(w), w)
        expected = torch.cat([(c * z).real, (c * z).imag], dim=1)
    else:
        expected = {
            "identity": lambda: x,
            "translation": lambda: x + w,
            "diagonal": lambda: w * x,
            "linear": lambda: torch.einsum("bij,bj->bi", w, x),
        }[operator]()
    torch.testing.assert_close(operators.query(x, rel, "right"), expected)


def test_the_reverse_has_an_operator_of_its_own():
    operators, x, rel = made(), drawn(1, 4, DIM), torch.tensor([0, 2, 1, 0])
    t = operators.kinds["translation"].weight
    assert t.shape == (2 * RELATIONS, DIM)
    torch.testing.assert_close(operators.query(x, rel, "left"), x + t[rel + RELATIONS])


def test_kinds_mixed_are_each_their_own():
    operators = made(operators={"r1": "complex", "r2": "linear"})
    x, rel = drawn(1, 6, DIM), torch.tensor([2, 0, 1, 1, 0, 2])
    moved = operators.query(x, rel, "right")
    for r, kind in enumerate(["translation", "complex", "linear"]):
        torch.testing.assert_close(moved[rel == r], operators.kinds[kind](x[rel == r], torch.zeros(2, dtype=torch.int64)))


def test_neutral_operators_begin_near_the_identity_and_the_originals_in_0_1():
    x, rel = drawn(1, 3, DIM), torch.zeros(3, dtype=torch.int64)
    for operator in OPERATORS:
        cfg = TwhinConfig(name="t", dim=DIM, operator=operator, init_scale=1e-4)
        torch.testing.assert_close(Operators(cfg, ["r"], 0).double().query(x, rel, "right"), x, rtol=0, atol=1e-2)
    t = made(operator_init="uniform").kinds["translation"].weight
    assert 0 <= t.min() < 0.2 and 0.8 < t.max() < 1


@pytest.mark.parametrize("p", [2, 3])
@pytest.mark.parametrize("operator", [*OPERATORS, "mixed"])
def test_a_penalty_is_of_both_ends_and_the_operator(operator, p):
    operators = made("translation", operators={"r1": "complex"}) if operator == "mixed" else made(operator)
    x, y, rel = drawn(1, 4, DIM), drawn(2, 4, DIM), torch.tensor([0, 1, 1, 0])

    def size(v, is_complex):
        return (torch.complex(*v.chunk(2)) if is_complex else v).abs().pow(p).sum()

    for asked in ("left", "right"):
        found = operators.penalty(x, y, rel, asked, p)
        for i, r in enumerate(rel.tolist()):
            kind = ("complex" if r == 1 else "translation") if operator == "mixed" else operator
            slot = (0 if operator == "mixed" else r) + (asked == "left") * (operators.count[kind])
            is_complex = kind in ("complex", "rotation")
            own = [] if kind in ("identity", "rotation") else [size(operators.kinds[kind].weight[slot].flatten(), is_complex)]
            torch.testing.assert_close(found[i], sum([size(x[i], is_complex), size(y[i], is_complex), *own]))


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_comparators_one_by_one_and_all_together(comparator):
    q, c = drawn(1, 2, 5, DIM), drawn(2, 2, 7, DIM)
    all_CQN = COMPARATORS[comparator].all(q, c)
    each = torch.stack([COMPARATORS[comparator].each(q, c[:, [n]].expand_as(q)) for n in range(7)], dim=2)
    torch.testing.assert_close(all_CQN, each)
    torch.testing.assert_close(COMPARATORS[comparator].all(q[0], c[0]), each[0])
    expected = {
        "dot": lambda a, b: (a * b).sum(),
        "cosine": lambda a, b: (a * b).sum() / a.norm() / b.norm(),
        "l1": lambda a, b: -(a - b).abs().sum(),
        "l2": lambda a, b: -(a - b).square().sum().sqrt(),
    }[comparator]
    torch.testing.assert_close(all_CQN[1, 3, 2], expected(q[1, 3], c[1, 2]))
