"""Whether a difference is more than the noise of seeds: against SciPy, against a known answer, and for any numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from recap_exp.comparison.statistics import differences, equally_noisy, holm, summary


def seeds(*values: float, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, first))


A, B = seeds(0.80, 0.82, 0.81, 0.85), seeds(0.78, 0.79, 0.80, 0.82)


def test_the_interval_of_a_mean_is_student_s():
    s = summary(list(A.values()))
    low, high = stats.t.interval(0.95, 3, loc=np.mean(list(A.values())), scale=stats.sem(list(A.values())))
    assert (s.low, s.high) == pytest.approx((low, high))
    assert s.std == pytest.approx(np.std(list(A.values()), ddof=1))
    assert (s.n, s.minimum, s.maximum) == (4, 0.80, 0.85)


def test_one_value_has_no_interval_and_none_no_mean():
    assert summary([0.5]).mean == 0.5
    assert math.isnan(summary([0.5]).low)
    assert summary([]).n == 0
    assert math.isnan(summary([]).mean)


def test_two_settings_with_common_seeds_are_paired():
    none, d = differences([A, B], 0)
    told = stats.ttest_rel(list(B.values()), list(A.values()))
    interval = told.confidence_interval(0.95)
    assert none is None
    assert d.paired
    assert d.p == pytest.approx(told.pvalue)
    assert (d.low, d.high) == pytest.approx((interval.low, interval.high))
    assert d.verdict == "more than noise"


def test_two_settings_with_other_seeds_are_not():
    other = seeds(*B.values(), first=10)
    _, d = differences([A, other], 0)
    told = stats.ttest_ind(list(other.values()), list(A.values()), equal_var=False)
    interval = told.confidence_interval(0.95)
    assert not d.paired
    assert d.p == pytest.approx(told.pvalue)
    assert (d.low, d.high) == pytest.approx((interval.low, interval.high))


def test_seeds_pair_though_one_run_failed():
    _, d = differences([A, {seed: B[seed] for seed in (0, 1, 3)}], 0)
    told = stats.ttest_rel([B[s] for s in (0, 1, 3)], [A[s] for s in (0, 1, 3)])
    assert d.paired
    assert d.p == pytest.approx(told.pvalue)


def test_many_settings_share_their_noise():
    """As an analysis of variance by setting and seed: residual mean square with (k − 1)(n − 1) degrees of freedom."""
    rng = np.random.default_rng(0)
    y_KN = rng.normal(size=(5, 3)) + 3 * rng.normal(size=3) + np.array([4, 2, 1, 0, 0])[:, None]
    found = differences([seeds(*row) for row in y_KN], 0)
    residual = y_KN - y_KN.mean(1, keepdims=True) - y_KN.mean(0) + y_KN.mean()
    error = math.sqrt(float((residual**2).sum()) / 8 * 2 / 3)
    for row, d in zip(y_KN[1:], found[1:], strict=True):
        mean = row.mean() - y_KN[0].mean()
        assert d.mean == pytest.approx(mean)
        assert d.p == pytest.approx(2 * stats.t.sf(abs(mean) / error, 8))
        assert d.high - d.low == pytest.approx(2 * stats.t.ppf(0.975, 8) * error)
    assert [d.adjusted for d in found[1:]] == pytest.approx(holm([d.p for d in found[1:]]))


def test_many_settings_without_common_seeds_share_their_noise_unpaired():
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=4) for _ in range(3)]
    found = differences([seeds(*x, first=10 * i) for i, x in enumerate(samples)], 1)
    pooled = float(sum(((x - x.mean()) ** 2).sum() for x in samples)) / 9
    t = (samples[0].mean() - samples[1].mean()) / math.sqrt(pooled / 2)
    assert not found[0].paired
    assert found[0].p == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_a_setting_that_is_far_noisier_leaves_the_others_judged_by_themselves():
    rng = np.random.default_rng(2)
    calm = [seeds(*(i + rng.normal(scale=0.01, size=5))) for i in range(3)]
    wild = seeds(*rng.normal(scale=100, size=5))
    assert not equally_noisy([*calm, wild])
    _, d, *_ = differences([*calm, wild], 0)
    assert d.p == pytest.approx(stats.ttest_rel(list(calm[1].values()), list(calm[0].values())).pvalue)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (seeds(1.0), seeds(0.5), "too few seeds to say"),
        (seeds(1.0, 1.1), seeds(0.5), "too few seeds to say"),
        (seeds(1.0, 1.1), {}, "too few seeds to say"),
        (seeds(1.0, 2.0), seeds(1.0, 2.0), "the same"),
        (seeds(1.0, 2.0), seeds(2.0, 3.0), "more than noise"),
        (seeds(0.9, 1.1), seeds(1.0, 1.1), "within noise"),
    ],
)
def test_in_words(a, b, verdict):
    assert differences([a, b], 0)[1].verdict == verdict


def test_holm_of_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_noise_alone_is_seldom_called_more():
    """Eight settings that differ in nothing: in at most about 5 % of such sweeps any of them is called different."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(300):
        effect_N = rng.normal(size=3)
        told = differences([seeds(*(effect_N + rng.normal(size=3))) for _ in range(8)], 0)
        wrong += any(d.verdict == "more than noise" for d in told if d)
    assert wrong <= 27  # 15 expected; more than 27 has a chance of 0.2 %


values = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
setting = st.dictionaries(st.integers(0, 5), values, max_size=6)


@given(st.lists(setting, min_size=1, max_size=5), st.data())
def test_for_any_numbers(settings, data):
    reference = data.draw(st.integers(0, len(settings) - 1))
    found = differences(settings, reference)
    assert found[reference] is None
    for i, d in enumerate(found):
        if d is not None:
            assert math.isnan(d.p) == (min(len(settings[i]), len(settings[reference])) < 2)
            if not math.isnan(d.p):
                assert 0 <= d.p <= d.adjusted <= 1
                assert d.low <= d.mean <= d.high
                assert (d.verdict == "more than noise") == (d.adjusted < 0.05)


@given(st.dictionaries(st.integers(0, 5), values, min_size=2), st.dictionaries(st.integers(0, 5), values, min_size=2))
def test_a_difference_turns_round(a, b):
    there, back = differences([a, b], 0)[1], differences([a, b], 1)[0]
    assert there.mean == pytest.approx(-back.mean)
    assert there.p == pytest.approx(back.p)
    assert there.low == pytest.approx(-back.high)


@given(st.lists(setting.filter(lambda s: len(s) > 2), min_size=3, max_size=4), st.floats(0.1, 10), st.floats(-50, 50))
def test_unit_and_origin_of_a_metric_do_not_matter(settings, factor, shift):
    assume(all(np.ptp(list(s.values())) > 0.1 for s in settings))
    moved = [{seed: factor * v + shift for seed, v in s.items()} for s in settings]
    assume(equally_noisy(settings) == equally_noisy(moved))
    for a, b in zip(differences(settings, 0)[1:], differences(moved, 0)[1:], strict=True):
        assert b.p == pytest.approx(a.p, abs=1e-6)
