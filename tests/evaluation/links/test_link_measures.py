"""Measures of ranks and of chance against what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.evaluation.links.measures import error, interval, mean, of_chance, of_ranks


@given(st.integers(1, 40), st.integers(1, 12))
def test_chance_is_the_mean_over_all_ranks(candidates, k):
    every = of_ranks(np.arange(1.0, candidates + 1)[:, None], [k])
    chance = of_chance(np.array([[candidates]]), [k])
    assert list(chance) == list(every) == ["mrr", f"hits_at_{k}", "mean_rank"]
    for name in chance:
        assert mean(chance[name]) == pytest.approx(mean(every[name]), rel=1e-12)


def test_a_shared_rank_hits_only_where_all_of_it_does():
    found = of_ranks(np.array([[1.0, 1.5, 3.5, 3.0]]), [1, 3])
    assert found["hits_at_1"].tolist() == [[1, 0, 0, 0]]
    assert found["hits_at_3"].tolist() == [[1, 1, 0, 1]]


def test_errors_are_of_edges_not_of_ends():
    rng = np.random.default_rng(0)
    value_E = rng.random(400)
    twice_ES = np.repeat(value_E[:, None], 2, 1)  # both ends of an edge tell the same
    assert error(twice_ES) == pytest.approx(value_E.std(ddof=1) / 20)
    drawn = [rng.choice(value_E, 400).mean() for _ in range(500)]
    assert error(twice_ES) == pytest.approx(np.std(drawn), rel=0.15)


def test_intervals_are_about_two_errors_and_within_bounds():
    value_ES = np.random.default_rng(1).random((300, 2))
    low, high = interval(value_ES)
    assert (low, high) == interval(value_ES)
    assert high - low == pytest.approx(2 * 1.96 * error(value_ES), rel=0.1)
    assert low < mean(value_ES) < high
    low, high = interval(np.array([[1.0], [1.0], [0.1]]))
    assert 0.1 <= low < high <= 1


def test_too_few_edges_have_no_error():
    assert np.isnan(error(np.ones((1, 2)))) and np.isnan(interval(np.ones((1, 2)))).all() and np.isnan(mean(np.ones((0, 2))))
