"""The weighted sum by hand, the positive mapping's properties, the formula line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.errors import ConfigError, DataError
from recap_exp.scoring.formula import formula_lines
from recap_exp.scoring.score import positive, score, score_predictions
from recap_exp.scoring.weights import Term, Weights

TASKS = ("like", "reply", "report")
PROBS = [[0.5, 0.25, 0.0], [0.25, 0.0, 0.125], [1.0, 1.0, 1.0]]  # exact in float32


def made(*values: float, epsilon: float = 0.001, mapping: bool = True) -> Weights:
    terms = tuple(Term(name=f"e{i}", task=f"t{i}", weight=w) for i, w in enumerate(values))
    return Weights(scoring="made", terms=terms, positive_mapping=mapping, epsilon=epsilon)


def test_score_by_hand(predict, scoring):
    scores = score_predictions(predict(PROBS, TASKS), scoring({"report": -8.0, "like": 0.5, "reply": 13.5}))
    assert scores.contributions_NE.tolist() == [[0.0, 0.25, 3.375], [-1.0, 0.125, 0.0], [-8.0, 0.5, 13.5]]
    assert scores.sum_N.tolist() == [3.625, -0.875, 6.0]
    # s + eps, and (s + N) / (P + N) eps with N = 8, P = 14
    assert scores.score_N.tolist() == pytest.approx([3.626, (-0.875 + 8) / 22 * 0.001, 6.001], abs=1e-15)
    assert scores.sum_N.dtype == scores.contributions_NE.dtype == np.float64
    assert scores.order.tolist() == [2, 0, 1] and scores.rank.tolist() == [2, 3, 1]


def test_without_mapping_the_score_is_the_sum(predict, scoring):
    scores = score_predictions(predict(PROBS, TASKS), scoring({"like": 1.0, "reply": -1.0, "report": 0.0}, positive_mapping=False))
    np.testing.assert_array_equal(scores.score_N, scores.sum_N)


def test_probabilities_by_configuration(predict, scoring):
    predictions = predict([[0.5]], ("a",), calibrated_NT=np.array([[0.25]], np.float32))
    assert score_predictions(predictions, scoring({"a": 2.0}, positive_mapping=False)).score_N == [1.0]
    assert score_predictions(predictions, scoring({"a": 2.0}, positive_mapping=False, probabilities="calibrated")).score_N == [0.5]


def test_equal_scores_stay_in_the_order_of_the_data():
    scores = score(np.full((4, 1), 0.5), ("t0",), made(1.0))
    assert scores.rank.tolist() == [1, 2, 3, 4]


weight = st.floats(-500, 500, allow_nan=False).map(lambda w: round(w, 3))


@given(st.lists(weight, min_size=1, max_size=6), st.floats(1e-6, 10), st.integers(0, 2**32 - 1))
def test_mapping_is_positive_and_keeps_the_order(values, epsilon, seed):
    weights = made(*values, epsilon=epsilon)
    probs = np.random.default_rng(seed).random((64, len(values)))
    scores = score(probs, tuple(t.task for t in weights.terms), weights)
    assert (scores.score_N >= 0).all()
    if any(values):
        above = scores.sum_N >= 0
        assert (scores.score_N[above] >= epsilon).all() and (scores.score_N[~above] <= epsilon).all()
    assert (np.diff(scores.score_N[np.argsort(scores.sum_N, kind="stable")]) >= 0).all()


@given(st.floats(0.01, 500), st.floats(0.01, 500))
def test_mapping_is_linear_on_either_side_and_jumps_at_zero(plus, minus):
    weights = made(plus, -minus)
    at = positive(np.array([-minus, -minus / 2, -1e-12, 0.0, 1.0]), weights)
    jump_from = minus / (plus + minus) * 0.001
    np.testing.assert_allclose(at, [0.0, jump_from / 2, jump_from, 0.001, 1.001], rtol=1e-6, atol=1e-15)


def test_mapping_is_continuous_where_nothing_is_positive():
    at = positive(np.array([-1e-9, 0.0]), made(-2.0, -1.0))
    assert at[1] == 0.001 and at[0] == pytest.approx(0.001, rel=1e-8)


def test_all_weights_zero_give_zero():
    assert positive(np.array([0.0, -1.0, 2.0]), made(0.0, 0.0)).tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5, np.inf])
def test_probability_that_is_none_is_told(wrong):
    probs = np.full((3, 2), 0.5)
    probs[1, 1] = wrong
    with pytest.raises(DataError, match="row 1: the probability of task 't1' is"):
        score(probs, ("t0", "t1"), made(1.0, 1.0))


def test_probabilities_of_other_tasks_are_told():
    with pytest.raises(ConfigError, match="no probabilities of task 't1'"):
        score(np.full((3, 2), 0.5), ("t0", "t2"), made(1.0, 1.0))


def test_formula_lines(predict, scoring):
    predictions = predict(PROBS, TASKS, ids={"user_id": np.array([7, 8, 9])})
    scores = score_predictions(predictions, scoring({"reply": 13.5, "report": -8.0, "like": 0.5}))
    lines = formula_lines(scores, predictions.probs_NT, TASKS, 2, predictions.ids)
    assert lines == [
        "candidate 0 user_id=7: like 0.5  reply 0.25  report 0",
        "  score = 13.5 x 0.25 - 8 x 0 + 0.5 x 0.5 = 3.625, mapped 3.626",
        "candidate 1 user_id=8: like 0.25  reply 0  report 0.125",
        "  score = 13.5 x 0 - 8 x 0.125 + 0.5 x 0.25 = -0.875, mapped 0.000323864",
    ]
    assert len(formula_lines(scores, predictions.probs_NT, TASKS, 99)) == 6
    negative_first = score_predictions(predictions, scoring({"report": -8.0, "like": 0.5, "reply": 1.0}, positive_mapping=False))
    assert formula_lines(negative_first, predictions.probs_NT, TASKS, 1)[1] == "  score = -8 x 0 + 0.5 x 0.5 + 1 x 0.25 = 0.5"
