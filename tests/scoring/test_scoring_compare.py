"""Rankings of weight sets compared: identities, and numbers by hand."""

import math

import numpy as np
import pytest

from recap_exp.scoring.compare import compare, depths


@pytest.fixture
def random(predict):
    return predict(np.random.default_rng(0).random((500, 3)), ("a", "b", "c"))


def test_the_same_weights_scaled_rank_alike_and_opposite_ones_in_reverse(random, scoring):
    one, two, reverse = ({"a": s * 1.0, "b": s * 2.0, "c": s * -3.0} for s in (1, 7, -1))
    comparison = compare(random, {"one": scoring(one), "two": scoring(two), "reverse": scoring(reverse)})
    assert comparison.base == "one" and list(comparison.with_base()) == ["two", "reverse"]
    alike, opposite = comparison.pairs["one", "two"], comparison.pairs["one", "reverse"]
    assert (alike.spearman, alike.kendall) == pytest.approx((1, 1)) and set(alike.overlap.values()) == {1.0}
    assert (opposite.spearman, opposite.kendall) == pytest.approx((-1, -1)) and opposite.overlap["top_100"] == 0.0
    assert comparison.movers("two", {})["up"] == [0] * 10


def test_by_hand(predict, scoring):
    predictions = predict([[0.9, 0.1], [0.8, 0.4], [0.7, 0.2], [0.1, 0.3]], ("a", "b"), ids={"post": np.array([10, 11, 12, 13])})
    comparison = compare(predictions, {"a": scoring({"a": 1.0, "b": 0.0}), "b": scoring({"a": 0.0, "b": 1.0})})
    # places 1 2 3 4 against 4 1 3 2: squared differences 9 + 1 + 0 + 4, two pairs of six in the same order
    pair = comparison.pairs["a", "b"]
    assert pair.spearman == pytest.approx(1 - 6 * 14 / (4 * 15)) and pair.kendall == pytest.approx((2 - 4) / 6)
    movers = comparison.movers("b", predictions.ids, count=2)
    assert movers == {"row": [0, 3], "post": [10, 13], "rank_a": [1, 4], "rank_b": [4, 2], "up": [-3, 2]}
    table = comparison.table()
    assert table["weights"] == ["a"] and table["other_weights"] == ["b"] and table["top_1pct_overlap"] == [0.0]


def test_a_set_that_ranks_nothing(predict, scoring):
    predictions = predict([[0.5, 0.1], [0.5, 0.2]], ("a", "b"))
    pair = compare(predictions, {"flat": scoring({"a": 1.0, "b": 0.0}), "b": scoring({"a": 0.0, "b": 1.0})}).pairs["flat", "b"]
    assert math.isnan(pair.spearman) and math.isnan(pair.kendall)


def test_all_sets_read_the_probabilities_of_the_first(predict, scoring):
    predictions = predict([[0.1], [0.9]], ("a",), calibrated_NT=np.array([[0.9], [0.1]], np.float32))
    sets = {"first": scoring({"a": 1.0}, probabilities="calibrated"), "other": scoring({"a": 2.0})}
    assert compare(predictions, sets).pairs["first", "other"].spearman == pytest.approx(1)


def test_depths():
    assert depths(100_000) == {"top_10": 10, "top_100": 100, "top_1pct": 1000}
    assert depths(50) == {"top_10": 10, "top_1pct": 1}
    assert depths(1) == {}
