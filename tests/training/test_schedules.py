"""Learning rates against the golden ones, and what must hold of any schedule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.training.config import Constant, LinearRamp, LinearRampCosine, Piecewise
from recap_exp.training.schedules import rate

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "lr_cases.json").read_text())


def from_original(case):
    """A schedule from the original's words for it."""
    if "constant" in case:
        return Constant(rate=case["constant"])
    if p := case.get("piecewise_constant"):
        return Piecewise(boundaries=p["learning_rate_boundaries"], rates=p["learning_rate_values"])
    if p := case.get("linear_ramp_to_constant"):
        return LinearRamp(rate=p["learning_rate"], ramp=p["num_ramp_steps"])
    p = case["linear_ramp_to_cosine"]
    return LinearRampCosine(rate=p["learning_rate"], final=p["final_learning_rate"], ramp=p["num_ramp_steps"], end=p["final_num_steps"])


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    golden = np.load(GOLDEN / "lr.npz")
    ours = [rate(from_original(CASES[name]), int(step)) for step in golden["steps"]]
    np.testing.assert_allclose(ours, golden[name], rtol=1e-6, atol=1e-12)


rates = st.floats(0, 1)
ramps = st.integers(0, 50)
smooth = st.one_of(
    st.builds(LinearRamp, rate=rates, ramp=ramps),
    st.tuples(rates, rates, ramps, st.integers(1, 200)).map(lambda t: LinearRampCosine(rate=t[0], final=t[1], ramp=t[2], end=t[2] + t[3])),
)


@given(smooth, st.integers(0, 300))
def test_bounded_and_without_jumps_but_for_a_ramp_of_none(schedule, step):
    now, after = rate(schedule, step), rate(schedule, step + 1)
    assert 0 <= now <= max(schedule.rate, getattr(schedule, "final", 0)) + 1e-12
    steepest = schedule.rate / max(schedule.ramp, 1)
    if isinstance(schedule, LinearRampCosine):
        steepest = max(steepest, abs(schedule.rate - schedule.final) * np.pi / 2 / (schedule.end - schedule.ramp))
    assert abs(after - now) <= steepest + 1e-9


@given(smooth)
def test_ramp_begins_at_zero_and_arrives(schedule):
    assert rate(schedule, schedule.ramp) == pytest.approx(schedule.rate)
    if schedule.ramp:
        assert rate(schedule, 0) == 0


@given(rates, rates, ramps, st.integers(1, 100), st.integers(0, 1000))
def test_cosine_ends_and_stays(high, final, ramp, length, after):
    schedule = LinearRampCosine(rate=high, final=final, ramp=ramp, end=ramp + length)
    assert rate(schedule, schedule.end + after) == pytest.approx(final, abs=1e-15)


@given(st.lists(st.integers(1, 100), unique=True, max_size=5).map(sorted), st.data())
def test_piecewise_takes_the_next_rate_at_a_boundary(boundaries, data):
    rates = data.draw(st.lists(st.floats(0, 1), min_size=len(boundaries) + 1, max_size=len(boundaries) + 1))
    schedule = Piecewise(boundaries=boundaries, rates=rates)
    for i, boundary in enumerate(boundaries):
        assert rate(schedule, boundary - 1) == rates[i] or boundary - 1 in boundaries
        assert rate(schedule, boundary) == rates[i + 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Constant(rate=-1.0), "rate must be a learning rate >= 0, not -1.0"),
        (lambda: Constant(rate=float("nan")), "rate .* not nan"),
        (lambda: LinearRamp(rate=1.0, ramp=-1), "ramp must be at least 0, not -1"),
        (lambda: LinearRampCosine(rate=1.0, ramp=5, end=5), r"end must be a step after the ramp's last \(5\), not 5"),
        (lambda: LinearRampCosine(rate=1.0, ramp=5, end=9, final=-1.0), "final"),
        (lambda: Piecewise(boundaries=[5, 5], rates=[1.0, 2.0, 3.0]), "boundaries"),
        (lambda: Piecewise(boundaries=[0], rates=[1.0, 2.0]), "boundaries"),
        (lambda: Piecewise(boundaries=[5], rates=[1.0]), "rates must be 2, one more than boundaries"),
    ],
)
def test_wrong_schedules_name_key_value_and_what_is_allowed(make, words):
    with pytest.raises(ValueError, match=words):
        make()
